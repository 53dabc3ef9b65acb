//! What the key is verified to do, for readers who need only that.
//!
//! The operator verifies the key when it issues it and when the spec changes. In between, the status keeps the results.

use std::collections::BTreeMap;

use super::Checked;
use super::verdict::Verdict;
use crate::api::{Capability, CapabilityState};
use crate::desired::{CheckPlan, Proof};
use crate::execute::StepOutput;
use crate::observed::ProbeResult;
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::problem::{Class, DENIERS, GRANTERS, Problem};

type Capabilities = BTreeMap<String, Capability>;

/// The summary capability.
const SUM: &str = "s3";

/// The capabilities after a reconcile that began with `before`; `verdict` is that on `Verified`, and `stands` is
/// whether it says nothing new.
pub(super) fn capabilities(before: &Capabilities, verdict: &Verdict, stands: bool, check: &Checked<'_>) -> Capabilities {
    let sum = match before.get(SUM) {
        Some(known) if stands => known.clone(),
        _ => sum(verdict),
    };
    let works = sum.state == CapabilityState::Valid;
    let row = |(name, means): (&&str, &CheckPlan)| {
        let by = match means {
            CheckPlan::Run(proofs) => proofs,
            CheckPlan::Skip(message) => return (name.to_string(), not_configured(message.clone())),
        };
        let known = before.get(*name).filter(|known| known.state != CapabilityState::NotConfigured);
        let found = match tried(check) {
            Some(tried) => of_trial(by, tried),
            // Not verified again: the result stays as long as the key works.
            None if stands || works => match known {
                Some(known) => known.clone(),
                None if works && *by == [Proof::List] => valid(by),
                None => pending("verified at the next verification of the key"),
            },
            None if by.contains(&Proof::List) => sum.clone(),
            None => pending("verified when the key works"),
        };
        (name.to_string(), found)
    };
    let rows: Capabilities = check.desired.proofs.capabilities.iter().map(row).collect();
    let mut all = rows;
    all.insert(SUM.to_owned(), sum);
    all
}

/// What was verified in this reconcile, if the key worked.
pub(super) fn tried<'a>(check: &'a Checked<'_>) -> Option<&'a [ProbeResult]> {
    check.report.outputs().find_map(|output| match output {
        StepOutput::ProbeResult(tried) => Some(tried.as_slice()),
        _ => None,
    })
}

/// The meaning of a failed verification, for people.
pub(super) fn why(problem: &Problem) -> String {
    match problem.class {
        Class::Allowed => {
            let (action, place) = (&problem.action, &problem.message);
            format!("{action} {place} is allowed, but it is outside the prefix, and the connection does not need it{GRANTERS}")
        }
        Class::Denied => format!("AWS accepts the key, but denies what the connection needs ({}){DENIERS}", problem.brief()),
        Class::BadKey => format!("AWS does not accept the key ({})", problem.brief()),
        _ => problem.brief(),
    }
}

fn sum(verdict: &Verdict) -> Capability {
    let state = match (verdict.holds, verdict.reason) {
        (_, Reason::NotManaged) => CapabilityState::NotConfigured,
        (Some(true), _) => CapabilityState::Valid,
        (Some(false), Reason::AccessDenied | Reason::KeyRejected | Reason::NotIsolated) => CapabilityState::Invalid,
        (Some(false), _) if verdict.stalled => CapabilityState::Invalid,
        _ => CapabilityState::Pending,
    };
    Capability { state, message: verdict.message.clone() }
}

fn of_trial(by: &[Proof], tried: &[ProbeResult]) -> Capability {
    let mut mine = Vec::new();
    for proof in by {
        match tried.iter().find(|tried| tried.proof == *proof) {
            // Unlike AWS this is a single server: if it does not answer, it is not available.
            Some(ProbeResult { problem: Some(problem), proof: Proof::GenomicsCloud, .. }) => {
                return Capability { state: CapabilityState::Invalid, message: problem.brief() };
            }
            Some(ProbeResult { problem: Some(problem), .. }) => return of_problem(problem),
            Some(_) => mine.push(*proof),
            None => return pending("waits for an earlier verification"),
        }
    }
    valid(&mine)
}

fn of_problem(problem: &Problem) -> Capability {
    let state = if problem.is_permanent() { CapabilityState::Invalid } else { CapabilityState::Pending };
    Capability { state, message: why(problem) }
}

fn valid(by: &[Proof]) -> Capability {
    let told = match by {
        [Proof::List] => "the key can list the bucket under the prefix",
        [Proof::Upload] => "the key can start an upload under the prefix; it was aborted, and no object appeared",
        [Proof::Put] => "the key can put an object under the prefix",
        [Proof::Get] => "the key can read an object under the prefix",
        [Proof::Delete] => "the key can delete an object under the prefix",
        [Proof::ListOutside] => "the key cannot list outside the prefix",
        [Proof::GetOutside] => "the key cannot read outside the prefix",
        [Proof::GenomicsCloud] => "the URL of spec.verification.genomicsCloud answers as expected",
        [Proof::Federation] => "the key can get a session with sts:GetFederationToken",
        _ => "the key can put and read objects that the KMS key encrypts",
    };
    Capability { state: CapabilityState::Valid, message: format!("verified: {told}") }
}

fn pending(message: &str) -> Capability {
    Capability { state: CapabilityState::Pending, message: message.to_owned() }
}

fn not_configured(message: String) -> Capability {
    Capability { state: CapabilityState::NotConfigured, message }
}
