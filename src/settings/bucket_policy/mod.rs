//! The bucket policy: statements of the spec, the TLS rule and what a preset adds, in one read and one write.
//!
//! Managed statements are recognized by their Sid and by the sealed status, which records what the operator wrote. All
//! other statements are foreign, even one with a Sid that the spec lists. The operator sends foreign statements back
//! exactly as it read them. If the last statement is removed, the policy is deleted.
//!
//! Omitting a Deny never removes it. While the spec has no `policyStatements` at all, existing statements stay. Once
//! the spec has the list, a Deny that is no longer in it is removed only if `bucket.allowWeaker` names
//! `policyStatements`.
//!
//! Written after the public access block, which refuses public policies.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html>

mod imported;
mod lockout;
mod statement;
mod trouble;

use std::collections::BTreeSet;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, SettingId, Unset, wrong_fields};
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::narrowing::losses_of_all;
use crate::vocabulary::policy_language::{canonical_statement, parts, wrong_condition};
use crate::vocabulary::problem::Problem;

use imported::{imported_statement, imported_tls};
use lockout::{Operator, locks_out};
pub use statement::{BucketStatement, ICA_COPY, OUR_PREFIX, TlsSpec, TlsVersion};
use statement::{TLS_ONLY, TLS_VERSION, covers, is_public, tls};
use trouble::{Version, unknown_principal, version};

/// Largest bucket policy in bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html>).
const LIMIT: usize = 20_480;

/// The most statements of a spec.
const MOST: usize = 20;

/// The bucket policy in a spec.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BucketPolicySpec {
    /// Statements of the bucket policy, by sid. Foreign statements stay. Omitted: the policy is left as it is. An Allow
    /// that you remove from the list is removed from the bucket, and an empty list removes all statements that this
    /// list had; a Deny is removed only if bucket.allowWeaker names policyStatements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // Not a list-map: if a list-map becomes empty, server-side apply removes the field, and an omitted field means
    // "left as it is".
    #[schemars(length(max = MOST))]
    #[x_kube(validation = Rule::new("self.all(statement, self.exists_one(other, other.sid == statement.sid))").message("each of policyStatements needs a sid of its own"))]
    pub policy_statements: Option<Vec<BucketStatement>>,

    /// Refuses requests over plain HTTP or an old version of TLS. Omitted: left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// The setting.
pub struct BucketPolicy;

/// The desired statements.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DesiredPolicy {
    /// The desired statements, in AWS's policy language.
    pub ours: Vec<Value>,
    /// Sids of statements that were managed and are removed.
    #[serde(skip)]
    pub dropped: Vec<String>,
    /// Sids of statements that were managed and are left as they are.
    #[serde(skip)]
    pub left: Vec<String>,
    /// Sids of the spec that the operator has not written yet: an existing statement with one of these Sids is foreign.
    #[serde(skip)]
    pub fresh: BTreeSet<String>,
}

/// A bucket policy, each part as the original text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyText {
    /// The parts before the statements: usually `"Version":…`, and `"Id":…` if there is one.
    pub head: Vec<String>,
    /// The statements. An empty list deletes the policy.
    pub statements: Vec<String>,
    /// The parts after the statements.
    pub tail: Vec<String>,
}

impl PolicyText {
    /// An empty policy.
    fn new() -> Self {
        Self { head: vec!["\"Version\":\"2012-10-17\"".to_owned()], ..Self::default() }
    }

    /// Splits the text of a policy; `None` if it is not a policy.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Value>(text).ok()?.as_object()?;
        let all = parts(text);
        let at = all.iter().position(|part| part.starts_with("\"Statement\""))?;
        let statement = all[at].split_once(':')?.1.trim();
        let statements = if statement.starts_with('[') { parts(statement) } else { vec![statement] };
        let owned = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect();
        Some(Self { head: owned(&all[..at]), statements: owned(&statements), tail: owned(&all[at + 1..]) })
    }

    /// The text of the policy. The statements are always a list, even if the policy had a single statement without a
    /// list: once the operator has added a statement, the original form is unknown.
    pub fn text(&self) -> String {
        let statements = format!("\"Statement\":[{}]", self.statements.join(","));
        let all: Vec<_> = self.head.iter().chain([&statements]).chain(&self.tail).map(String::as_str).collect();
        format!("{{{}}}", all.join(","))
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn sid(statement: &Value) -> &str {
    statement.get("Sid").and_then(Value::as_str).unwrap_or_default()
}

impl Setting for BucketPolicy {
    type Spec = BucketPolicySpec;
    type Desired = DesiredPolicy;
    type Live = PolicyText;
    type Write = PolicyText;

    const FIELD: &'static str = "bucket.policyStatements";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"];
    const SUBRESOURCE: &'static str = "policy";
    const UNSET: Unset = Unset::Code("NoSuchBucketPolicy");
    const DOCS: Docs = Docs {
        purpose: "the bucket policy: `policyStatements`, `tls` and `illuminaICA.crossAccountCopy`",
        weaker: "a statement that gives everyone access (`*` for any kind of principal); a Deny that is removed, or changed other than to refuse more; an older TLS version",
        kept: "statements with other Sids, in their own words; the policy's version, unless a statement of the spec contains a policy variable",
    };

    fn desired(spec: Option<&BucketPolicySpec>, context: &Context<'_>) -> Result<Option<DesiredPolicy>, String> {
        let spec = spec.cloned().unwrap_or_default();
        let listed = spec.policy_statements.as_deref().unwrap_or_default();
        if let Some(wrong) = listed.iter().find_map(|statement| wrong(statement, context)) {
            return Err(wrong);
        }
        let tls = spec.tls.as_ref().map(tls);
        let all = tls.iter().flatten().chain(context.preset_statements).chain(listed);
        let ours: Vec<_> = all.map(|statement| statement.to_json(context.bucket_arn)).collect();
        let size: usize = ours.iter().map(|statement| statement.to_string().len() + 1).sum();
        if size > LIMIT {
            return Err(format!("the statements have {size} characters, AWS allows {LIMIT} in a bucket policy"));
        }
        let there = |name: &String| ours.iter().any(|statement| sid(statement) == name);
        let known = || context.earlier(SettingId::BucketPolicy).iter();
        // A Sid in the spec cannot begin like the operator's own.
        let new = listed.iter().map(|statement| &statement.sid).filter(|sid| !known().any(|name| name == *sid));
        let fresh = new.cloned().collect();
        let earlier = known().filter(|name| !there(name)).cloned();
        // A preset's Allow is removed with its option. The statements of a list are removed only while the spec still
        // has a list.
        let (dropped, left): (Vec<_>, Vec<_>) = earlier.partition(|name| spec.policy_statements.is_some() || *name == ICA_COPY);
        let managed = spec.policy_statements.is_some() || !ours.is_empty() || !dropped.is_empty();
        Ok(managed.then_some(DesiredPolicy { ours, dropped, left, fresh }))
    }

    fn reaches(spec: &BucketPolicySpec) -> Vec<Reach> {
        let BucketPolicySpec { policy_statements, tls } = spec;
        // Both statements for TLS only deny.
        let _ = tls.as_ref().map(|TlsSpec { minimum_version: _ }| ());
        let statements = policy_statements.as_deref().unwrap_or_default();
        let any = (!statements.is_empty()).then(|| Reach::new(Self::FIELD, Need::Statements));
        any.into_iter().chain(statements.iter().flat_map(BucketStatement::reaches)).collect()
    }

    fn of_new_bucket() -> Option<PolicyText> {
        None
    }

    fn change(desired: &DesiredPolicy, live: Option<&PolicyText>) -> Option<Change<PolicyText>> {
        let mut write = PolicyText { statements: Vec::new(), ..live.cloned().unwrap_or_else(PolicyText::new) };
        let (mut diffs, mut weakens, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        let (mut missing, mut foreign, mut taken) = (desired.ours.clone(), Vec::new(), Vec::new());
        for (index, text) in live.into_iter().flat_map(|live| &live.statements).enumerate() {
            let there = parsed(text);
            let canonical = canonical_statement(&there).unwrap_or_default();
            let denies = canonical.get("Effect") == Some(&json!("deny"));
            let name = sid(&there);
            if let Some(at) = missing.iter().position(|ours| !name.is_empty() && sid(ours) == name) {
                let ours = missing.remove(at);
                let wanted = canonical_statement(&ours).unwrap_or_default();
                if wanted == canonical {
                    write.statements.push(text.clone());
                    continue;
                }
                if desired.fresh.contains(name) {
                    taken.push(path(name));
                    foreign.push((index + 1, text.as_str()));
                    write.statements.push(text.clone());
                    continue;
                }
                diffs.extend(statement_diffs(name, &there, &ours));
                losses.extend(losses_of_all(&path(name), std::slice::from_ref(&there), std::slice::from_ref(&ours)));
                if denies && !covers(&wanted, &canonical) {
                    weakens.push(format!("changes the Deny statement {name}"));
                }
                if is_public(&wanted) {
                    weakens.push(public(name));
                }
                write.statements.push(ours.to_string());
            } else if desired.dropped.iter().any(|dropped| dropped == name) {
                diffs.push(FieldDiff::new(path(name), Some(there.clone()), None));
                losses.extend(losses_of_all(&path(name), std::slice::from_ref(&there), &[]));
                if denies {
                    weakens.push(format!("removes the Deny statement {name}"));
                }
            } else {
                foreign.push((index + 1, text.as_str()));
                write.statements.push(text.clone());
            }
        }
        let mut blocked = None;
        match version(live, &desired.ours, &foreign) {
            Version::Stays => {}
            Version::Stuck(text) => blocked = Some(text),
            Version::Raised(from, to) => {
                diffs.push(FieldDiff::new(format!("{}.version", Self::FIELD), Some(json!(from)), Some(json!(to))));
                write.raise();
            }
        }
        let adds = missing.iter().map(|ours| sid(ours).to_owned()).collect();
        for ours in missing {
            diffs.push(FieldDiff::new(path(sid(&ours)), None, Some(ours.clone())));
            losses.extend(losses_of_all(&path(sid(&ours)), &[], std::slice::from_ref(&ours)));
            if canonical_statement(&ours).is_some_and(|ours| is_public(&ours)) {
                weakens.push(public(sid(&ours)));
            }
            write.statements.push(ours.to_string());
        }
        let weakens = (!weakens.is_empty()).then(|| weakens.join(", "));
        let open = blocked.is_some() || !(diffs.is_empty() && taken.is_empty());
        open.then_some(Change { diffs, write, weakens, losses, blocked, foreign: taken, adds })
    }

    fn after(write: &PolicyText) -> Option<PolicyText> {
        (!write.statements.is_empty()).then(|| write.clone())
    }

    fn imported(live: &PolicyText) -> Imported<BucketPolicySpec> {
        let (mut statements, mut lost) = (Vec::<BucketStatement>::new(), Vec::new());
        let all: Vec<_> = live.statements.iter().map(|text| parsed(text)).collect();
        let tls = imported_tls(&all);
        for (index, there) in all.iter().enumerate() {
            let name = sid(there);
            let twice = statements.iter().any(|statement| statement.sid == name);
            match imported_statement(there) {
                _ if tls.is_some() && [TLS_ONLY, TLS_VERSION].contains(&name) => {}
                Ok(statement) if statements.len() < MOST && !twice => statements.push(statement),
                Ok(_) => lost.push(format!("statement {}: a spec has at most {MOST}, each with its own Sid", index + 1)),
                Err(why) => lost.push(format!("statement {} ({name:?}): {why}", index + 1)),
            }
        }
        let spec = BucketPolicySpec { policy_statements: (!statements.is_empty()).then_some(statements), tls };
        Imported::part((spec != BucketPolicySpec::default()).then_some(spec), lost)
    }

    fn example() -> Example<PolicyText> {
        let body = r#"{"Version":"2012-10-17","Statement":[{ "Sid":"Auditors", "Effect" : "Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::lab-bucket/*"}]}"#;
        Example::new(PolicyText::parse(body).unwrap_or_default(), body)
    }

    fn hint(write: &PolicyText, problem: &Problem) -> Option<String> {
        unknown_principal(write).filter(|_| problem.code == "MalformedPolicy")
    }

    fn owned(desired: &DesiredPolicy) -> Vec<String> {
        desired.ours.iter().map(|statement| sid(statement).to_owned()).chain(desired.left.clone()).collect()
    }

    fn adopt(desired: &mut DesiredPolicy) {
        desired.fresh.clear();
    }
}

/// The error in a statement of the spec.
fn wrong(statement: &BucketStatement, context: &Context<'_>) -> Option<String> {
    let sid = &statement.sid;
    if let Some(text) = wrong_fields(&statement.unknown) {
        return Some(format!("{sid}: {text}"));
    }
    if let Some(text) = wrong_condition(&statement.conditions) {
        return Some(format!("conditions of {sid}: {text}"));
    }
    let operator = Operator { account_id: context.account_id, arns: context.operator };
    if locks_out(statement, context.bucket_arn, &operator) {
        return Some(format!(
            "{sid} may deny the operator access to the bucket policy, and then only the account's root user can remove the statement; list actions without s3:GetBucketPolicy, s3:PutBucketPolicy and s3:DeleteBucketPolicy, or add the condition {}",
            operator.exception()
        ));
    }
    foreign_resource(statement, context.bucket_arn)
}

/// A statement may name only this bucket and its objects. S3 refuses others too, but its error says less.
fn foreign_resource(statement: &BucketStatement, bucket_arn: &str) -> Option<String> {
    let own = |resource: &&String| {
        *resource == bucket_arn || resource.strip_prefix(bucket_arn).is_some_and(|rest| rest.starts_with('/'))
    };
    let foreign = statement.resources.iter().find(|resource| !own(resource))?;
    Some(format!("{} names {foreign}: resources may be {bucket_arn} and {bucket_arn}/… only", statement.sid))
}

fn public(name: &str) -> String {
    format!("gives everyone access by the statement {name}")
}

/// The field of the spec that a statement comes from.
fn path(name: &str) -> String {
    match name {
        ICA_COPY => "illuminaICA.crossAccountCopy".to_owned(),
        TLS_ONLY => "bucket.tls".to_owned(),
        TLS_VERSION => "bucket.tls.minimumVersion".to_owned(),
        _ => {
            debug_assert!(!name.starts_with(OUR_PREFIX));
            format!("bucket.policyStatements[{name}]")
        }
    }
}

fn statement_diffs(name: &str, live: &Value, desired: &Value) -> Vec<FieldDiff> {
    let canonical = |statement: &Value| canonical_statement(statement).unwrap_or_default();
    let (old, new) = (canonical(live), canonical(desired));
    let elements: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differ = elements.into_iter().filter(|element| old.get(*element) != new.get(*element));
    differ
        .map(|element| {
            let field = match element.as_str() {
                "Principal" | "Action" | "Resource" | "Condition" => format!("{}s", element.to_lowercase()),
                other => other.to_lowercase(),
            };
            FieldDiff::new(format!("{}.{field}", path(name)), live.get(element).cloned(), desired.get(element).cloned())
        })
        .collect()
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use super::PolicyText;
    use crate::sdk::{BucketCalls, unset};
    use crate::vocabulary::problem::{Class, Problem};

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<PolicyText>, Problem> {
        const ACTION: &str = "s3:GetBucketPolicy";
        let call = b.s3.get_bucket_policy().bucket(b.name).expected_bucket_owner(b.account);
        let answer = unset(b.sdk.call(ACTION, call.send()).await, &["NoSuchBucketPolicy"])?;
        let Some(text) = answer.and_then(|answer| answer.policy) else { return Ok(None) };
        let unknown = || Problem::new(Class::Refused, ACTION, "InvalidAnswer", "the bucket policy is no policy document");
        PolicyText::parse(&text).map(Some).ok_or_else(unknown)
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, policy: &PolicyText) -> Result<(), Problem> {
        if policy.statements.is_empty() {
            let call = b.s3.delete_bucket_policy().bucket(b.name).expected_bucket_owner(b.account);
            return b.sdk.call("s3:DeleteBucketPolicy", call.send()).await.map(drop);
        }
        let call = b.s3.put_bucket_policy().bucket(b.name).expected_bucket_owner(b.account).policy(policy.text());
        b.sdk.call("s3:PutBucketPolicy", call.send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
