//! What an account allows a connection to do: the rules of `AWSAccount.spec.allowedNamespaces`.
//!
//! The operator's rights in AWS are larger than those of whoever writes a connection, so whatever a connection names must be
//! listed. Checked before AWS is asked anything.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use serde::Serialize;

use super::{claims, names};
use crate::api::conditions::Reason;
use crate::api::{AWSAccount, AWSAccountSpec, AccountDefaults, BucketConnection, NamespaceRule, PolicyType, Preset, SignIn};
use crate::settings::wrong_fields;
use crate::wildcard::rule_matches;

/// What an account grants to one connection, and gives to all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Terms {
    /// What connections get that do not say otherwise.
    pub defaults: AccountDefaults,
    /// Whether what exists already may be taken over.
    pub adoption: bool,
    /// ARNs by which policies know the operator, once it is signed in: see [`principals`].
    pub operator: Vec<String>,
}

/// ARNs by which policies know the operator: `identity` is what STS calls it, `sign_in` how it came there. STS does not tell the path of an
/// assumed role, so where the account does not name the role, `*` stands for any path.
pub fn principals(identity: &str, sign_in: &SignIn) -> Vec<String> {
    if let Some(role) = sign_in.credentials.assume_role.last() {
        return vec![role.role_arn.clone()];
    }
    let parts: Vec<_> = identity.splitn(6, ':').collect();
    match (parts.as_slice(), identity.split('/').collect::<Vec<_>>().as_slice()) {
        (["arn", partition, "sts", _, account, resource], [_, name, _]) if resource.starts_with("assumed-role/") => {
            let role = format!("arn:{partition}:iam::{account}:role");
            vec![format!("{role}/{name}"), format!("{role}/*/{name}")]
        }
        _ => vec![identity.to_owned()],
    }
}

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Whether the labels of `namespace` decide anything in `account`.
pub fn asks_labels(account: &AWSAccountSpec, namespace: &str) -> bool {
    account.allowed_namespaces.iter().any(|rule| rule.selector.is_some() && named(rule, namespace))
}

/// Why a connection may not use an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// In one word.
    pub reason: Reason,
    /// Why, and who can change that.
    pub message: String,
}

/// The terms on which `object`, in a namespace with `labels`, may use `account`; or why it may not. What its status says is believed.
pub fn terms(object: &BucketConnection, labels: &Labels, account: &AWSAccount) -> Result<Terms, Refusal> {
    let (name, namespace) = (account.name_any(), object.namespace().unwrap_or_default());
    // It would never go.
    if account.metadata.deletion_timestamp.is_some() && !claims::has(object) {
        let message = format!(
            "AWSAccount {name} is being deleted and takes no new connections: delete this BucketConnection, or create one that names another AWSAccount in accountRef"
        );
        return Err(Refusal { reason: Reason::AccountNotFound, message });
    }
    let account = &account.spec;
    let mut nearest: Option<Vec<String>> = None;
    for rule in &account.allowed_namespaces {
        if !named(rule, &namespace) || !rule.selector.as_ref().is_none_or(|selector| selects(selector, labels)) {
            continue;
        }
        let refused = refusals(object, rule, account);
        if refused.is_empty() {
            return Ok(Terms { defaults: account.defaults.clone(), adoption: rule.adoption, operator: Vec::new() });
        }
        if nearest.as_ref().is_none_or(|nearest| refused.len() < nearest.len()) {
            nearest = Some(refused);
        }
    }
    let ask = format!("whoever keeps AWSAccount {name} can allow it in spec.allowedNamespaces");
    let message = match nearest {
        None => format!("AWSAccount {name} allows nothing to namespace {namespace}; {ask}"),
        Some(refused) => format!("AWSAccount {name} does not allow namespace {namespace}: {}; {ask}", refused.join("; ")),
    };
    Err(Refusal { reason: Reason::NotAllowed, message })
}

/// What `rule` does not allow of `object`.
fn refusals(object: &BucketConnection, rule: &NamespaceRule, account: &AWSAccountSpec) -> Vec<String> {
    let (spec, mut refused) = (&object.spec, Vec::new());
    // It may have been meant to narrow the rule.
    refused.extend(
        wrong_fields(&rule.unknown)
            .map(|text| format!("its rule has fields that are unknown, so it counts for nothing ({text})")),
    );
    let mut check = |field: &str, value: &str, patterns: &[String]| {
        if !patterns.iter().any(|pattern| rule_matches(pattern, value)) {
            let allowed = if patterns.is_empty() { "none".to_owned() } else { patterns.join(", ") };
            refused.push(format!("{field} {value} (allowed: {allowed})"));
        }
    };
    // The account is known before signing in only where the spec asserts it.
    let account_id = account.account_id.as_deref().unwrap_or("000000000000");
    check("bucket.name", &names::bucket(object, account_id), &rule.buckets);
    check("region", &spec.region, &rule.regions);
    if let Some(logging) = &spec.bucket.settings.logging {
        check("bucket.logging.targetBucket", &logging.target_bucket, &rule.buckets);
    }
    let encryption = spec.bucket.settings.encryption.as_ref();
    if let Some(key) = encryption.and_then(|encryption| encryption.kms_key_arn.as_ref())
        && account.defaults.kms_key_arn.as_ref() != Some(key)
    {
        check("bucket.encryption.kmsKeyArn", key, &rule.kms_keys);
    }
    if let Some(cloud) = spec.verification.as_ref().and_then(|verification| verification.genomics_cloud.as_ref()) {
        check("verification.genomicsCloud.url", cloud.authority(), &rule.genomics_cloud_hosts);
    }
    let user = spec.user.as_ref();
    let path = user.and_then(|user| user.path.as_deref()).filter(|path| *path != names::default_path(&account.defaults));
    let chosen = user.and_then(|user| user.name.clone());
    match (path, chosen) {
        (Some(path), name) => {
            let name = name.unwrap_or_else(|| names::default_user(object, &account.defaults));
            check("user", &format!("{path}{name}"), &rule.users);
        }
        (None, Some(name)) if name != names::default_user(object, &account.defaults) => check("user.name", &name, &rule.users),
        (None, _) => {}
    }
    let policy = spec.policy.as_ref().filter(|policy| policy.kind == PolicyType::Managed);
    if let Some(name) = policy.and_then(|policy| policy.name.as_ref())
        && *name != names::default_user(object, &account.defaults)
    {
        check("policy.name", name, &rule.users);
    }
    let boundary = user.and_then(|user| user.permissions_boundary.as_ref());
    if let (Some(own), Some(set)) = (boundary, &account.defaults.permissions_boundary)
        && own != set
    {
        refused.push(format!("user.permissionsBoundary {own} (the account sets {set})"));
    }
    if !rule.presets.contains(&spec.preset) {
        let allowed: Vec<_> = rule.presets.iter().map(|preset| format!("{preset:?}")).collect();
        let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        refused.push(format!("preset {:?} (allowed: {allowed})", spec.preset));
    } else if spec.preset == Preset::Custom && !rule.custom_policy {
        refused.push("preset Custom (it needs customPolicy: true)".to_owned());
    }
    let statements = spec.bucket.settings.bucket_policy.as_ref().and_then(|policy| policy.policy_statements.as_ref());
    if statements.is_some_and(|statements| !statements.is_empty()) && !rule.statements {
        refused.push("bucket.policyStatements (they need statements: true)".to_owned());
    }
    let copies = spec.illumina_ica.as_ref().and_then(|options| options.cross_account_copy.as_ref());
    if copies.is_some_and(|copy| copy.role_arn.is_some()) && !rule.statements {
        refused.push("illuminaICA.crossAccountCopy.roleArn (it needs statements: true)".to_owned());
    }
    // What has been taken over is ours by now.
    let ours = object.status.clone().unwrap_or_default();
    let adopts = (spec.bucket.adopt && ours.memory.bucket.is_none())
        || (user.is_some_and(|user| user.adopt) && ours.memory.user.is_none())
        || (spec.policy.as_ref().is_some_and(|policy| policy.adopt) && ours.memory.policy.is_none());
    if adopts && !rule.adoption {
        refused.push("adopt (it needs adoption: true)".to_owned());
    }
    // What Custom consists of.
    let adds = spec.policy.as_ref().is_some_and(|policy| !policy.statements.is_empty()) && spec.preset != Preset::Custom;
    if adds && !rule.statements {
        refused.push("policy.statements (they need statements: true)".to_owned());
    }
    refused
}

fn named(rule: &NamespaceRule, namespace: &str) -> bool {
    (rule.names.is_empty() && rule.selector.is_some()) || rule.names.iter().any(|pattern| rule_matches(pattern, namespace))
}

/// Kubernetes' rules for label selectors; one that it would refuse selects nothing.
fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    let expressed = selector.match_expressions.iter().flatten().all(|expression| {
        let (live, values) = (labels.get(&expression.key), expression.values.as_deref().unwrap_or_default());
        match expression.operator.as_str() {
            "In" => live.is_some_and(|live| values.contains(live)),
            "NotIn" => !live.is_some_and(|live| values.contains(live)),
            "Exists" => live.is_some(),
            "DoesNotExist" => live.is_none(),
            _ => false,
        }
    });
    selector.match_labels.iter().flatten().all(equal) && expressed
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: Value) -> BucketConnection {
        let mut whole =
            json!({ "preset": "ReadWrite", "region": "eu-west-1", "bucket": { "name": "lab-a-data", "prefix": "runs/" } });
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": { "name": "c", "namespace": "lab-a" }, "spec": whole,
        }))
        .unwrap()
    }

    fn account(rules: Value) -> AWSAccountSpec {
        serde_json::from_value(json!({ "allowedNamespaces": rules })).unwrap()
    }

    fn rule(change: Value) -> AWSAccountSpec {
        let mut rule = json!({ "names": ["lab-a"], "buckets": ["lab-a-*"], "regions": ["eu-*"], "presets": ["ReadWrite"] });
        for (field, value) in change.as_object().unwrap() {
            rule[field] = value.clone();
        }
        account(json!([rule]))
    }

    fn asked(object: &BucketConnection, account: &AWSAccountSpec) -> Result<Terms, String> {
        let account = AWSAccount::new("research", account.clone());
        terms(object, &Labels::from([("team".to_owned(), "a".to_owned())]), &account).map_err(|refusal| refusal.message)
    }

    #[test]
    fn nothing_is_allowed_that_is_not_listed() {
        let plain = object(json!({}));
        assert!(asked(&plain, &rule(json!({}))).is_ok());
        let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
        let kms = json!({ "name": "lab-a-data", "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } });
        let statement = json!([{ "actions": ["s3:GetObject"] }]);
        let cloud = |rest: &str| json!({ "verification": { "genomicsCloud": { "url": format!("https://{rest}") } } });
        let cases = [
            (json!({}), json!({ "names": ["lab-b", "lab"] }), "allows nothing to namespace lab-a"),
            (json!({}), json!({ "buckets": [] }), "bucket.name lab-a-data (allowed: none)"),
            (json!({}), json!({ "buckets": ["lab-b-*", "lab-a"] }), "bucket.name lab-a-data (allowed: lab-b-*, lab-a)"),
            (json!({}), json!({ "selectors": { "matchLabels": { "team": "b" } } }), "no such field: selectors"),
            (json!({}), json!({ "regions": ["us-*"] }), "region eu-west-1 (allowed: us-*)"),
            (json!({}), json!({ "presets": ["ReadOnly"] }), "preset ReadWrite (allowed: ReadOnly)"),
            (json!({ "bucket": kms }), json!({}), "bucket.encryption.kmsKeyArn"),
            (json!({ "user": { "name": "admin" } }), json!({}), "user.name admin (allowed: none)"),
            (cloud("clc.example.org"), json!({}), "verification.genomicsCloud.url clc.example.org (allowed: none)"),
            (cloud("clc.example.org/x"), json!({ "genomicsCloudHosts": ["*.example.org"] }), ""),
            (
                cloud("clc.example.org:22"),
                json!({ "genomicsCloudHosts": ["clc.example.org"] }),
                "url clc.example.org:22 (allowed:",
            ),
            (cloud("other.org/.example.org"), json!({ "genomicsCloudHosts": ["*.example.org"] }), "url other.org (allowed:"),
            (json!({ "user": { "path": "/admins/" } }), json!({ "users": ["*a.c"] }), ""),
            (json!({ "user": { "path": "/admins/" } }), json!({ "users": ["lab-a*"] }), "user /admins/lab-a.c (allowed: lab-a*)"),
            (json!({ "policy": { "statements": statement } }), json!({}), "policy.statements (they need statements: true)"),
            (json!({ "policy": { "statements": statement } }), json!({ "statements": true }), ""),
            (json!({ "preset": "Custom" }), json!({ "presets": ["Custom"] }), "customPolicy: true"),
            (json!({ "preset": "Custom" }), json!({ "presets": ["Custom"], "customPolicy": true }), ""),
            (json!({ "preset": "Custom" }), json!({ "customPolicy": true }), "preset Custom (allowed: ReadWrite)"),
        ];
        for (spec, change, expected) in cases {
            match asked(&object(spec.clone()), &rule(change.clone())) {
                Ok(_) => assert_eq!(expected, "", "{spec} {change}"),
                Err(text) => assert!(!expected.is_empty() && text.contains(expected), "{spec} {change}: {text}"),
            }
        }
    }

    #[test]
    fn the_operator_has_these_names_in_policies() {
        let signed_in = |sign_in: Value, identity: &str| principals(identity, &serde_json::from_value(sign_in).unwrap());
        let user = "arn:aws:iam::123456789012:user/platform/operator";
        assert_eq!(signed_in(json!({}), user), [user]);
        let session = "arn:aws-cn:sts::123456789012:assumed-role/operator/botocore";
        assert_eq!(
            signed_in(json!({}), session),
            ["arn:aws-cn:iam::123456789012:role/operator", "arn:aws-cn:iam::123456789012:role/*/operator"]
        );
        let role = "arn:aws-cn:iam::123456789012:role/teams/operator";
        assert_eq!(signed_in(json!({ "credentials": { "assumeRole": [{ "roleArn": role }] } }), session), [role]);
    }

    #[test]
    fn one_entry_must_allow_all_of_it() {
        let halves = account(json!([
            { "names": ["*"], "buckets": ["*"], "presets": ["ReadWrite"] },
            { "names": ["*"], "regions": ["*"], "presets": ["ReadWrite"] },
        ]));
        let text = asked(&object(json!({})), &halves).unwrap_err();
        assert!(text.contains("region eu-west-1 (allowed: none)") && !text.contains("bucket.name"), "{text}");
    }

    #[test]
    fn labels_select_namespaces() {
        let by = |selector: Value| asked(&object(json!({})), &rule(json!({ "names": [], "selector": selector }))).is_ok();
        assert!(by(json!({ "matchLabels": { "team": "a" } })));
        assert!(!by(json!({ "matchLabels": { "team": "b" } })));
        assert!(by(json!({ "matchExpressions": [{ "key": "team", "operator": "In", "values": ["a", "b"] }] })));
        assert!(!by(json!({ "matchExpressions": [{ "key": "team", "operator": "DoesNotExist" }] })));
        assert!(by(json!({ "matchExpressions": [{ "key": "x", "operator": "NotIn", "values": ["a"] }] })));
        assert!(!by(json!({ "matchExpressions": [{ "key": "team", "operator": "Unknown" }] })));
        let both = rule(json!({ "names": ["lab-b"], "selector": { "matchLabels": { "team": "a" } } }));
        assert!(asked(&object(json!({})), &both).is_err() && !asks_labels(&both, "lab-a"));
    }

    #[test]
    fn the_accounts_boundary_cannot_be_replaced() {
        let mut account = rule(json!({}));
        account.defaults.permissions_boundary = Some("arn:aws:iam::123456789012:policy/edge".into());
        let own = object(json!({ "user": { "permissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess" } }));
        assert!(asked(&own, &account).unwrap_err().contains("the account sets arn:aws:iam::123456789012:policy/edge"));
    }

    #[test]
    fn an_account_that_is_being_deleted_takes_no_new_connections() {
        let mut account = AWSAccount::new("research", rule(json!({})));
        let mut object = object(json!({}));
        assert!(terms(&object, &Labels::new(), &account).is_ok());
        account.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let refusal = terms(&object, &Labels::new(), &account).unwrap_err();
        assert_eq!(refusal.reason, Reason::AccountNotFound);
        assert!(refusal.message.starts_with("AWSAccount research is being deleted and takes no new connections: "));
        // One that has something there goes on until it is deleted itself.
        object.status =
            serde_json::from_value(json!({ "bucket": { "arn": "arn:aws:s3:::lab-a-data", "region": "eu-west-1" } })).unwrap();
        assert!(terms(&object, &Labels::new(), &account).is_ok());
    }

    #[test]
    fn a_generated_bucket_name_is_checked_whole() {
        let generated = object(json!({ "bucket": { "namePrefix": "lab-a" } }));
        assert!(asked(&generated, &rule(json!({}))).is_ok());
        assert!(asked(&generated, &rule(json!({ "buckets": ["lab-a-*-eu-west-1-an"] }))).is_ok());
        assert!(asked(&generated, &rule(json!({ "buckets": ["lab-b-*"] }))).is_err());
    }
}
