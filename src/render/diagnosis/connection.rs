//! Connections: all of them in summary, and one in detail with its Secret and key.

use std::collections::BTreeMap;

use super::{Finding, Outcome};
use crate::api::{BucketConnection, CapabilityState};
use crate::credentials::{KeyPair, Sensitive, written_key};
use crate::render::connection::{Overview, act};
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::problem::{Class, Problem};

/// Connections that are not Ready and are listed one by one.
const LISTED: usize = 20;

/// The connections in summary. `place` is their namespace, unless they are of all namespaces.
pub fn connections(objects: &[Overview], place: Option<&str>) -> Vec<Finding> {
    let place = place.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default();
    if objects.is_empty() {
        return vec![Finding::not_checked("connections", "connections", format!("there are none{place}"))];
    }
    let mut told: Vec<_> = objects.iter().filter(|of| !of.is_fine() || of.suspended).map(connection).collect();
    told.sort_by_key(|finding| std::cmp::Reverse(finding.outcome));
    let fine = objects.iter().filter(|of| of.is_fine()).count();
    let text = format!("{fine} of {}{place} are Ready", objects.len());
    let more = told.len().saturating_sub(LISTED);
    let outcome = told.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Ok);
    told.truncate(LISTED);
    if more > 0 {
        told.push(Finding::new(
            "connection",
            "others",
            outcome,
            format!("{more} more are not Ready; bucketconnection get -A shows all"),
        ));
    }
    let all = if fine == objects.len() { Outcome::Ok } else { Outcome::Note };
    told.insert(0, Finding::new("connections", "connections", all, text));
    told
}

/// One connection, as its conditions describe it.
fn connection(of: &Overview) -> Finding {
    let reason = of.reason.as_deref().unwrap_or("NotReconciled");
    let (about, text) = (format!("connection {}", of.title()), format!("{reason}: {}", of.message));
    let wrong = of.stalled || of.unreadable.is_some();
    let finding = Finding::new("connection", about, if wrong { Outcome::Wrong } else { Outcome::Note }, text);
    let finding = match &of.act {
        Some(act) => finding.and(act),
        None => finding,
    };
    let prefix =
        [(of.suspended, "suspended; "), (of.deleting, "being deleted; "), (of.outdated, "the new spec is not reconciled yet; ")];
    let prefix: String = prefix.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect();
    Finding { text: format!("{prefix}{}", finding.text), ..finding }
}

/// What could be read of the connection's Secret.
pub enum Secrets<'a> {
    /// Its data.
    Data(&'a BTreeMap<String, Sensitive>),
    /// It does not exist.
    Absent,
}

/// Whether the Secret `name` exists, contains a key, and agrees with the connection.
pub fn secret(object: &BucketConnection, of: &Overview, name: &str, secret: &Secrets<'_>) -> Finding {
    let about = format!("Secret {}/{name}", of.namespace);
    let existing = object.spec.existing_secret().is_some();
    let act = if existing {
        "Put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of a working key into it"
    } else {
        "Nothing, if the operator runs: its next reconcile writes the Secret again; bucketconnection reconcile starts one now"
    };
    let wrong = |text: String| Finding::wrong("secret", about.clone(), text, act);
    let data = match secret {
        // The conditions of the connection say why.
        Secrets::Absent if !existing && of.key.as_ref().is_none_or(|key| key.id.is_none()) => {
            return Finding::note("secret", about, "does not exist: no key is issued");
        }
        Secrets::Absent => return wrong("does not exist".to_owned()),
        Secrets::Data(data) => data,
    };
    let key = match written_key(data) {
        Ok(key) => key,
        Err(flaw) => return wrong(format!("contains no usable key: {flaw}")),
    };
    if existing {
        return Finding::ok("secret", about, format!("contains the key {}", key.id));
    }
    let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default();
    if credentials.revoked.contains(&key.id) {
        return wrong(format!("contains the revoked key {}", key.id));
    }
    let expected = credentials.access_key_id.unwrap_or_default();
    if key.id != expected {
        return wrong(format!("contains the key {}, but the current key is {expected}", key.id));
    }
    let fields =
        [("AWS_REGION", of.region.as_str()), ("BUCKET", of.bucket.as_deref().unwrap_or_default()), ("PREFIX", &of.prefix)];
    let differs = fields.into_iter().find(|(field, value)| data.get(*field).is_none_or(|stored| stored.reveal() != *value));
    if let Some((field, value)) = differs {
        return wrong(format!("its field {field} is not {value:?}"));
    }
    Finding::ok("secret", about, format!("contains the current key {} and the fields of the spec", key.id))
}

/// Whether AWS accepts the key here, and says that it is the connection's: `answer` is the ARN of its owner.
pub fn key(of: &Overview, key: &KeyPair, expected: Option<&str>, answer: &Result<String, Problem>) -> Finding {
    let about = format!("key of {}", of.title());
    match answer {
        Ok(arn) if expected.is_some_and(|expected| expected != arn) => {
            let text = format!("{} belongs to {arn}, not to {}", key.id, expected.unwrap_or_default());
            Finding::wrong("key", about, text, "Find out who changed the Secret, and rotate the key: bucketconnection rotate")
        }
        Ok(arn) => Finding::ok("key", about, format!("AWS accepts {} here: {arn}", key.id)),
        Err(problem) => failed(about, problem),
    }
}

/// Whether the key can list the connection's prefix here. `None`: it was not tried.
pub fn listing(of: &Overview, answer: Option<&Result<(), Problem>>) -> Finding {
    let place = format!("s3://{}/{}", of.bucket.as_deref().unwrap_or_default(), of.prefix);
    let about = format!("list {place}");
    match answer {
        None => Finding::not_checked("key", about, "the policy of the connection does not allow listing"),
        Some(Ok(())) => Finding::ok("key", about, "works here with the key of the connection"),
        Some(Err(problem)) => failed(about, problem),
    }
}

impl Overview {
    /// Whether the policy allows listing, as far as the operator has verified it.
    pub fn lists(&self) -> bool {
        self.capabilities.get("list").is_none_or(|list| list.state != CapabilityState::NotConfigured)
    }
}

fn failed(about: String, problem: &Problem) -> Finding {
    let reason = match problem.class {
        Class::Unavailable | Class::Throttled => {
            return Finding::not_checked("key", about, format!("AWS did not answer: {}", problem.brief()));
        }
        Class::Missing => {
            return Finding::wrong("key", about, problem.brief(), "Check whether the bucket exists: bucketconnection status");
        }
        Class::Denied => {
            return Finding::wrong(
                "key",
                about,
                problem.brief(),
                "Check the network that the policies require (VPC endpoint, source IP), the user's policy, SCPs and the bucket policy",
            );
        }
        _ => Reason::KeyRejected,
    };
    Finding::wrong("key", about, problem.brief(), act(&reason.to_string()).unwrap_or_default())
}

/// Whether the region is enabled in the account: `answer` is what STS of the region says about the connection's key.
pub fn region(of: &Overview, answer: Option<&Result<String, Problem>>) -> Finding {
    const DISABLED: [&str; 4] = ["OptInRequired", "RegionDisabledException", "InvalidToken", "UnrecognizedClientException"];
    let about = format!("region {}", of.region);
    let reason = Reason::RegionUnavailable.to_string();
    if of.reason.as_ref() == Some(&reason) {
        return Finding::wrong("region", about, of.message.clone(), act(&reason).unwrap_or_default());
    }
    match answer {
        Some(Ok(_)) => Finding::ok("region", about, "enabled: AWS accepts the key of the connection there"),
        Some(Err(problem)) if DISABLED.contains(&problem.code.as_str()) => {
            Finding::wrong("region", about, problem.brief(), act(&reason).unwrap_or_default())
        }
        _ if of.is_fine() => Finding::ok("region", about, "enabled: the operator has verified the connection there"),
        _ => Finding::not_checked("region", about, "needs a key that AWS accepts"),
    }
}
