//! What is wrong with objects beyond the schema: the rules of the CRD, what the operator cannot carry out, what the
//! account does not allow, and objects that exclude each other.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{Finding, Found, Manifest, Severity};
use crate::api::{AWSAccount, BucketConnection};
use crate::desired::claims::{self, Claim};
use crate::desired::tenancy::{self, Labels};
use crate::desired::{self, Account, Desired, Grant, SpecError, names};

/// Account id where none is known.
const UNKNOWN: &str = "000000000000";

/// Everything that is wrong in the files, in their order.
pub fn check(manifest: &Manifest) -> Vec<Finding> {
    let mut findings = manifest.flaws.clone();
    duplicates(&manifest.connections, &mut findings);
    duplicates(&manifest.accounts, &mut findings);
    for account in &manifest.accounts {
        findings.extend(account.violations.iter().cloned());
        rules(account, &desired::broken_account_rules(&account.source.node.value()), &mut findings);
    }
    let cast = cast(manifest);
    for ((found, object), earlier) in manifest.connections.iter().zip(&cast.objects).zip(&cast.earlier) {
        findings.extend(found.violations.iter().cloned());
        match object.as_ref().filter(|_| found.violations.is_empty()) {
            Some(object) => connection(found, object, *earlier, &cast, manifest, &mut findings),
            None => rules(found, &desired::broken_connection_rules(&found.source.node.value()), &mut findings),
        }
    }
    // In reverse: of a file that is named twice, the first place counts.
    let places: HashMap<_, _> = manifest.files.iter().enumerate().rev().map(|(place, file)| (file.as_str(), place)).collect();
    let order = |finding: &Finding| (places.get(finding.file.as_str()).copied(), finding.at);
    findings.sort_by_cached_key(|finding| (order(finding), finding.clone()));
    findings.dedup();
    findings
}

/// Violated rules of the CRD. A rule about a field that breaks the schema says nothing new.
fn rules<K>(found: &Found<K>, errors: &[SpecError], findings: &mut Vec<Finding>) {
    let broken = |field: &str| found.violations.iter().any(|violation| violation.field.as_deref() == Some(field));
    findings.extend(
        errors.iter().filter(|error| !broken(&error.field)).map(|error| found.finding("rule", &error.field, &error.message)),
    );
}

fn duplicates<K>(all: &[Found<K>], findings: &mut Vec<Finding>) {
    let mut known: HashMap<&str, &Found<K>> = HashMap::new();
    for found in all.iter().filter(|found| !found.name.ends_with("(without a name)")) {
        match known.get(found.name.as_str()) {
            Some(first) => {
                let place = format!("{}:{}", first.source.file, first.source.locate("metadata.name").line);
                let message = format!("the same object is also in {place}; remove one of them");
                findings.push(found.finding("duplicate-object", "metadata.name", message));
            }
            None => drop(known.insert(&found.name, found)),
        }
    }
}

/// The objects of the files as they will be once all are applied, in the order of the files.
struct Cast {
    objects: Vec<Option<BucketConnection>>,
    /// How many objects before each are in its namespace and account: [`claims::earlier`], counted in one pass.
    earlier: Vec<usize>,
    /// Indexes of the objects with a bucket or user.
    named: HashMap<String, Vec<usize>>,
}

fn cast(manifest: &Manifest) -> Cast {
    let mut cast = Cast { objects: Vec::new(), earlier: Vec::new(), named: HashMap::new() };
    let mut neighbors: HashMap<_, HashSet<&str>> = HashMap::new();
    for (index, found) in manifest.connections.iter().enumerate() {
        let (mut object, mut earlier) = (found.object.clone(), 0);
        if let Some(object) = &mut object {
            let same = neighbors.entry((object.namespace(), object.spec.account_ref.name.clone())).or_default();
            // The same object once more is not another one.
            earlier = same.len() - usize::from(!same.insert(&found.name));
            object.metadata.uid = Some(found.name.clone());
            let second = i64::try_from(index).unwrap_or_default();
            object.metadata.creation_timestamp = Timestamp::from_second(second).ok().map(Time);
            for name in claims::claimed(object, &defaults(object, manifest)) {
                cast.named.entry(name).or_default().push(index);
            }
        }
        cast.objects.push(object);
        cast.earlier.push(earlier);
    }
    cast
}

fn account<'a>(object: &BucketConnection, manifest: &'a Manifest) -> Option<&'a AWSAccount> {
    let name = &object.spec.account_ref.name;
    manifest.account(name).and_then(Found::valid)
}

fn defaults(object: &BucketConnection, manifest: &Manifest) -> crate::api::AccountDefaults {
    account(object, manifest).map(|account| account.spec.defaults.clone()).unwrap_or_default()
}

/// Checks a connection that fits the schema.
fn connection(
    found: &Found<BucketConnection>,
    object: &BucketConnection,
    earlier: usize,
    cast: &Cast,
    manifest: &Manifest,
    findings: &mut Vec<Finding>,
) {
    let account = account(object, manifest);
    let grant = match account {
        Some(account) => authorize(found, object, account, earlier, manifest, findings),
        None => Grant::of_unknown_account(),
    };
    match resolve(object, account, None, &grant) {
        Ok(desired) => findings.extend(desired.limits.map(|limits| warning(found.finding("spec", "spec.region", limits)))),
        // It depends on who the operator is, which only the account shows.
        Err(errors) => findings.extend(
            explained(found, &errors)
                .into_iter()
                .map(|finding| if finding.message.contains("may deny the operator access") { warning(finding) } else { finding }),
        ),
    }
    conflicts(found, object, cast, manifest, findings);
}

/// Errors in the spec of a connection, with their places.
pub fn explained(found: &Found<BucketConnection>, errors: &[SpecError]) -> Vec<Finding> {
    let rules = desired::broken_connection_rules(&found.source.node.value());
    let rule = |error| if rules.contains(error) { "rule" } else { "spec" };
    let mut findings: Vec<_> = errors.iter().map(|error| found.finding(rule(error), &error.field, &error.message)).collect();
    findings.sort();
    findings
}

fn warning(finding: Finding) -> Finding {
    Finding { severity: Severity::Warning, ..finding }
}

/// What the account in the files allows; findings for what it does not allow.
fn authorize(
    found: &Found<BucketConnection>,
    object: &BucketConnection,
    account: &AWSAccount,
    earlier: usize,
    manifest: &Manifest,
    findings: &mut Vec<Finding>,
) -> Grant {
    let namespace = object.namespace().unwrap_or_default();
    let labels = manifest.labels.get(&namespace);
    let refusal = match tenancy::authorize(object, labels.unwrap_or(&Labels::new()), account, earlier) {
        Ok(grant) => return grant,
        Err(refusal) => refusal,
    };
    let account_name = account.name_any();
    let open = labels.is_none() && tenancy::asks_labels(&account.spec, &namespace);
    let mut add = |field: &str, message: String| {
        let finding = found.finding("account", field, message);
        findings.push(if open { warning(finding) } else { finding });
    };
    let hint = if open {
        format!("; a selector decides: add Namespace {namespace} to the files, with its labels")
    } else {
        String::new()
    };
    let refused: Vec<_> = refusal.report.refused().collect();
    if refused.is_empty() {
        add("spec.accountRef", format!("AWSAccount {account_name} allows nothing to namespace {namespace}{hint}"));
    }
    for decision in refused {
        let field = format!("spec.{}", decision.reach.field.split(' ').next().unwrap_or_default());
        let place = format!("AWSAccount {account_name}, spec.allowedNamespaces[{}]", refusal.report.rule);
        add(&field, format!("{} is not allowed to namespace {namespace}: {} ({place}){hint}", decision.reach, decision.why));
    }
    Grant { defaults: account.spec.defaults.clone(), ..Grant::of_unknown_account() }
}

/// The desired state of a connection of the files, or its errors. Without an account id, that of its AWSAccount is used.
pub fn desired(manifest: &Manifest, found: &Found<BucketConnection>, account_id: Option<&str>) -> Result<Desired, Vec<Finding>> {
    let object = found.usable()?;
    let account = account(object, manifest);
    let known = account_id.is_some() || account.is_some_and(|account| account.spec.account_id.is_some());
    if object.spec.bucket.name_prefix.is_some() && !known {
        let message = "the name of the bucket contains the id of the AWS account; pass --account-id, or add its AWSAccount with accountId to the files";
        return Err(vec![found.finding("spec", "spec.bucket.namePrefix", message)]);
    }
    let grant = Grant { defaults: defaults(object, manifest), ..Grant::of_unknown_account() };
    resolve(object, account, account_id, &grant).map_err(|errors| explained(found, &errors))
}

/// The desired state, with what is known of the account.
fn resolve(
    object: &BucketConnection,
    account: Option<&AWSAccount>,
    account_id: Option<&str>,
    grant: &Grant,
) -> Result<Desired, Vec<SpecError>> {
    // Without an account, ARNs of the spec are right in the account that they name.
    let key = object.spec.bucket.settings.encryption.as_ref().and_then(|encryption| encryption.kms_key_arn.as_deref());
    let named = key.and_then(|arn| arn.split(':').nth(4)).unwrap_or(UNKNOWN).to_owned();
    let given = account_id.map(str::to_owned).or_else(|| account?.spec.account_id.clone());
    let id = given.unwrap_or(named);
    let region = account.and_then(|account| account.spec.sign_in.region.as_ref()).unwrap_or(&object.spec.region);
    desired::resolve(object, "", &Account { id, partition: names::partition_of(region).to_owned() }, grant)
}

/// Another object of the files that gets the bucket or user.
fn conflicts(
    found: &Found<BucketConnection>,
    object: &BucketConnection,
    cast: &Cast,
    manifest: &Manifest,
    findings: &mut Vec<Finding>,
) {
    let defaults = defaults(object, manifest);
    let same = claims::claimed(object, &defaults).into_iter().flat_map(|name| cast.named.get(&name).into_iter().flatten());
    let others: Vec<_> =
        same.filter_map(|index| cast.objects[*index].as_ref()).filter(|other| other.uid() != object.uid()).collect();
    let claim = |other: &BucketConnection| if claims::wants(other) { Claim::Claimant } else { Claim::None };
    if !claims::wants(object) || others.is_empty() {
        return;
    }
    if let Some(conflict) = claims::conflict_with(object, others, &defaults, claim) {
        let field = if conflict.part == crate::vocabulary::conditions::ConditionType::UserReady {
            "spec.user.name"
        } else {
            "spec.bucket.name"
        };
        findings.push(found.finding("conflict", field, format!("{} ({} is before it)", conflict.message, conflict.holder)));
    }
}
