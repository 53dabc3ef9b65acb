//! The statements that a spec adds to the user's policy: what they may contain, and what the operator adds to them.
//!
//! The operator has more permissions than the author of a connection, and must not pass them on. A statement may deny
//! anything, but may allow only objects of the connection's own bucket, and use of its KMS key through S3. Actions that
//! change the bucket itself are reserved (`settings/reserved.rs`): if a statement names one, the AWSAccount must allow
//! it; if a statement matches one with a wildcard, the operator denies it.

use std::collections::BTreeSet;

use super::presets::{Scope, through_s3};
use super::{Grant, SpecError};
use crate::api::{Effect, PolicyStatement, Preset};
use crate::settings::reserved;
use crate::settings::wrong_fields;
use crate::vocabulary::policy_language::{WrittenConditions, wrong_condition};

/// Sid of the Deny that the operator adds.
const RESERVED: &str = "BucketConnectionReserved";

/// Actions that use a KMS key for data; none of them manages the key. One key may serve all tenants.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html>
const KEY_ACTIONS: [&str; 9] = [
    "kms:decrypt",
    "kms:describekey",
    "kms:encrypt",
    "kms:generatedatakey",
    "kms:generatedatakeypair",
    "kms:generatedatakeypairwithoutplaintext",
    "kms:generatedatakeywithoutplaintext",
    "kms:reencryptfrom",
    "kms:reencryptto",
];

/// All statements of the policy: those of the preset, those of the spec, and the Deny for reserved actions. Errors in
/// the spec's statements go to `errors`.
pub(super) fn all(
    of_preset: Vec<PolicyStatement>,
    of_spec: &[PolicyStatement],
    scope: &Scope<'_>,
    preset: Preset,
    grant: &Grant,
    errors: &mut Vec<SpecError>,
) -> Vec<PolicyStatement> {
    let denied = denied(&of_preset, of_spec, scope, grant);
    errors.extend(sids(of_preset.iter().chain(&denied), of_spec, preset));
    for (index, statement) in of_spec.iter().enumerate() {
        errors.extend(wrong(index, statement, scope, preset));
    }
    of_preset.into_iter().chain(of_spec.iter().map(|statement| complete(statement, scope))).chain(denied).collect()
}

/// A statement with its resources filled in, and with the conditions that the operator always adds.
fn complete(statement: &PolicyStatement, scope: &Scope<'_>) -> PolicyStatement {
    let mut statement = statement.clone();
    let on_key = statement.actions.iter().any(|action| is_on_key(action));
    if statement.resources.is_empty() {
        statement.resources = match scope.kms_key_arn.filter(|_| on_key) {
            Some(key) => vec![key.to_owned()],
            None => vec![scope.bucket_arn.to_owned(), scope.objects_arn.to_owned()],
        };
    }
    if on_key && statement.effect == Effect::Allow {
        for (test, keys) in through_s3(scope) {
            statement.conditions.entry(test).or_default().extend(keys);
        }
    }
    statement
}

/// Denies the reserved actions that the wildcards of the spec match, except those that the account allows or the preset
/// itself grants.
fn denied(
    of_preset: &[PolicyStatement],
    of_spec: &[PolicyStatement],
    scope: &Scope<'_>,
    grant: &Grant,
) -> Option<PolicyStatement> {
    let allowing = of_spec.iter().filter(|statement| statement.effect == Effect::Allow);
    let actions: Vec<_> = allowing.flat_map(|statement| &statement.actions).map(String::as_str).collect();
    let granted: Vec<_> = of_preset.iter().flat_map(|statement| &statement.actions).collect();
    let actions = reserved::denied(&actions, |action| grant.allows_action(action) || granted.iter().any(|own| *own == action));
    (!actions.is_empty()).then(|| PolicyStatement {
        sid: Some(RESERVED.to_owned()),
        effect: Effect::Deny,
        actions,
        resources: vec![scope.bucket_arn.to_owned(), format!("{}/*", scope.bucket_arn)],
        conditions: WrittenConditions::default(),
        unknown: Default::default(),
    })
}

fn is_on_key(action: &str) -> bool {
    action.to_lowercase().starts_with("kms:")
}

/// Duplicate Sids: AWS refuses the whole document, and names none of them.
fn sids<'a>(ours: impl Iterator<Item = &'a PolicyStatement>, statements: &[PolicyStatement], preset: Preset) -> Vec<SpecError> {
    let ours: BTreeSet<_> = ours.filter_map(|statement| statement.sid.as_ref()).collect();
    let mut seen = BTreeSet::new();
    let twice = statements.iter().enumerate().filter_map(|(index, statement)| {
        let sid = statement.sid.as_ref()?;
        let whose = match (ours.contains(sid), seen.insert(sid)) {
            (true, _) if sid == RESERVED => "of a statement of the operator's own".to_owned(),
            (true, _) => format!("of a statement of preset {preset}"),
            (false, false) => "of another statement".to_owned(),
            (false, true) => return None,
        };
        let message = format!("{sid} is already the sid {whose}; choose another sid, or omit it");
        Some(SpecError::new(format!("spec.policy.statements[{index}].sid"), message))
    });
    twice.collect()
}

/// The errors in a statement: what AWS would refuse without naming the field, and what must not be allowed.
fn wrong(index: usize, statement: &PolicyStatement, scope: &Scope<'_>, preset: Preset) -> Vec<SpecError> {
    let field = |name: &str| format!("spec.policy.statements[{index}].{name}");
    let unknown = wrong_fields(&statement.unknown);
    let mut errors: Vec<_> =
        unknown.map(|text| SpecError::new(format!("spec.policy.statements[{index}]"), text)).into_iter().collect();
    if statement.resources.iter().any(|resource| resource.contains("${")) {
        errors.push(SpecError::new(field("resources"), "policy variables (${…}) are not accepted"));
    }
    errors.extend(wrong_condition(&statement.conditions).map(|text| SpecError::new(field("conditions"), text)));
    if statement.effect == Effect::Deny {
        return errors;
    }
    errors.extend(wrong_on_key(&statement.actions, &statement.conditions).map(|(name, text)| SpecError::new(field(name), text)));
    // Sessions made with this action outlive the key: allowed for ICA, which works with sessions, and for custom
    // policies.
    let federates = matches!(preset, Preset::IlluminaICA | Preset::Custom);
    let account_wide = |action: &str| {
        let action = action.to_lowercase();
        action == "s3:listallmybuckets" || (federates && action == "sts:getfederationtoken")
    };
    for action in &statement.actions {
        let on_key = is_on_key(action) && scope.kms_key_arn.is_some();
        if !(action.to_lowercase().starts_with("s3:") || on_key || account_wide(action)) {
            let text = format!(
                "{action} cannot be allowed: only s3: actions, sts:GetFederationToken with preset IlluminaICA or Custom, and kms: actions with bucket.encryption of type SSE-KMS"
            );
            errors.push(SpecError::new(field("actions"), text));
        }
    }
    let everywhere = statement.actions.iter().all(|action| account_wide(action));
    for resource in &statement.resources {
        let own = resource == scope.bucket_arn
            || resource.strip_prefix(scope.bucket_arn).is_some_and(|rest| rest.starts_with('/'))
            || Some(resource.as_str()) == scope.kms_key_arn
            || (everywhere && resource == "*");
        if !own {
            let text = format!(
                "{resource} cannot be allowed: only {bucket}, {bucket}/… and the key of bucket.encryption (\"*\" for s3:ListAllMyBuckets and sts:GetFederationToken alone)",
                bucket = scope.bucket_arn
            );
            errors.push(SpecError::new(field("resources"), text));
        }
    }
    errors
}

/// The error in an Allow on the bucket's KMS key: the field, and the cause.
fn wrong_on_key(actions: &[String], conditions: &WrittenConditions) -> Option<(&'static str, String)> {
    let on_key: Vec<_> = actions.iter().filter(|action| is_on_key(action)).collect();
    let other = on_key.iter().find(|action| !KEY_ACTIONS.contains(&action.to_lowercase().as_str()));
    if let Some(action) = other {
        let text = format!(
            "{action} cannot be allowed: of a KMS key only kms:Decrypt, Encrypt, GenerateDataKey…, ReEncryptFrom, ReEncryptTo and DescribeKey, by their whole names"
        );
        return Some(("actions", text));
    }
    if !on_key.is_empty() && on_key.len() < actions.len() {
        let text = "kms: actions need a separate statement, because the operator allows them only through S3, and other actions also without it";
        return Some(("actions", text.to_owned()));
    }
    let key = conditions.values().flat_map(|keys| keys.keys()).find(|key| key.to_lowercase().starts_with("kms:"))?;
    (!on_key.is_empty()).then(|| ("conditions", format!("{key} is set by the operator: leave it out")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BUCKET: &str = "arn:aws-cn:s3:::b";
    const KEY: &str = "arn:aws-cn:kms:cn-north-1:123456789012:key/k";

    fn written(preset: Preset, statements: Value, allowed: &[&str]) -> Result<Vec<PolicyStatement>, String> {
        let scope = Scope {
            bucket_arn: BUCKET,
            objects_arn: "arn:aws-cn:s3:::b/runs/*",
            prefix: Some("runs/"),
            kms_key_arn: Some(KEY),
            versioned: false,
            region: "cn-north-1",
            illumina_ica: None,
        };
        let of_preset = super::super::presets::parts(preset, &scope).unwrap_or_default().statements;
        let statements: Vec<PolicyStatement> = serde_json::from_value(statements).unwrap();
        let grant = Grant { actions: allowed.iter().map(|&action| action.to_owned()).collect(), ..Grant::default() };
        let mut errors = Vec::new();
        let all = all(of_preset, &statements, &scope, preset, &grant, &mut errors);
        errors.first().map_or(Ok(all), |error| Err(error.to_string()))
    }

    /// One key may serve all tenants, so an action that manages it could destroy other tenants' data.
    #[test]
    fn of_the_key_only_what_is_done_with_data_and_only_through_s3() {
        let on = |actions: Value, rest: Value| {
            let mut statement = json!({ "actions": actions });
            for (field, value) in rest.as_object().unwrap() {
                statement[field] = value.clone();
            }
            written(Preset::Custom, json!([statement]), &[])
        };
        for action in
            ["kms:*", "kms:Generate*", "kms:ScheduleKeyDeletion", "kms:PutKeyPolicy", "kms:CreateGrant", "KMS:disablekey"]
        {
            let text = on(json!([action]), json!({})).unwrap_err();
            assert!(
                text.starts_with(&format!("spec.policy.statements[0].actions: {action} cannot be allowed: of a KMS key only")),
                "{text}"
            );
        }
        let mixed = on(json!(["s3:GetObject", "kms:Decrypt"]), json!({})).unwrap_err();
        assert!(mixed.contains("kms: actions need a separate statement"), "{mixed}");
        let own = json!({ "conditions": { "StringLikeIfExists": { "KMS:viaservice": ["*"] } } });
        let text = on(json!(["kms:Decrypt"]), own).unwrap_err();
        assert!(text.contains("conditions: KMS:viaservice is set by the operator"), "{text}");

        let kept = json!({ "conditions": { "StringEquals": { "aws:PrincipalTag/a": ["b"] } } });
        let statement = on(json!(["kms:Decrypt", "kms:generateDataKeyWithoutPlaintext"]), kept).unwrap().remove(0);
        assert_eq!(statement.resources, [KEY]);
        let expected = json!({
            "StringEquals": {
                "aws:PrincipalTag/a": ["b"],
                "kms:ViaService": ["s3.cn-north-1.amazonaws.com", "s3.cn-north-1.amazonaws.com.cn"],
            },
            "StringLike": { "kms:EncryptionContext:aws:s3:arn": [BUCKET, "arn:aws-cn:s3:::b/runs/*"] },
        });
        assert_eq!(json!(statement.conditions), expected);
        // A Deny may contain anything.
        assert!(on(json!(["kms:*"]), json!({ "effect": "Deny" })).is_ok());
    }

    /// Even if a wildcard matches it, the tenant's key must not write the ownership tag.
    #[test]
    fn beside_a_wildcard_what_is_reserved_is_denied() {
        let denied = |preset, actions: &[&str], allowed: &[&str]| {
            let last = written(preset, json!([{ "actions": actions }]), allowed).unwrap().pop().unwrap();
            if last.effect == Effect::Deny { last.actions } else { Vec::new() }
        };
        let all = denied(Preset::Custom, &["s3:*"], &[]);
        for action in
            ["s3:PutBucket*", "s3:*agResource", "s3:BypassGovernanceRetention", "s3:PutObject*Acl", "s3:Put*Configuration"]
        {
            assert!(all.contains(&action.to_owned()), "{action}: {all:?}");
        }
        assert_eq!(denied(Preset::ReadWrite, &["S3:*Tagging"], &[]), ["s3:PutBucketTagging"]);
        assert_eq!(denied(Preset::Custom, &["s3:Get*", "s3:PutObject"], &[]), [""; 0]);
        assert_eq!(denied(Preset::Custom, &["s3:*"], &["*"]), [""; 0]);
        // The preset's own permissions stay.
        let ica = denied(Preset::IlluminaICA, &["s3:*"], &[]);
        assert!(
            ica.contains(&"s3:PutBucketTagging".to_owned()) && !ica.contains(&"s3:PutBucketNotification".to_owned()),
            "{ica:?}"
        );
        let deny = json!([{ "effect": "Deny", "actions": ["s3:*"] }]);
        assert_eq!(written(Preset::Custom, deny, &[]).unwrap().len(), 1);
        let text = written(Preset::Custom, json!([{ "sid": RESERVED, "actions": ["s3:*"] }]), &[]).unwrap_err();
        assert!(text.contains("already the sid of a statement of the operator's own"), "{text}");
    }
}
