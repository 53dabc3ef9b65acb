//! What an account allows a connection to do: the entries of `AWSAccount.spec.allowedNamespaces`.
//!
//! The operator has more permissions in AWS than the author of a connection, so an entry must list everything that a
//! connection names or weakens. `reaches.rs` collects that; this module compares it with the entries, before any call
//! to AWS.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use serde::Serialize;

use super::reaches::{name_of, reaches};
use crate::api::{AWSAccount, AWSAccountSpec, AccountDefaults, AdoptionRule, BucketConnection, NamespaceRule, Period};
use crate::settings::reach::{Adopted, Need, Reach};
use crate::settings::wrong_fields;
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::wildcard::rule_matches;

/// Default limits of an entry.
const MAX_CONNECTIONS: u32 = 100;
const MIN_RESYNC_INTERVAL: Duration = Duration::from_secs(60);
const MIN_ROTATION_INTERVAL: Duration = Duration::from_secs(3600);

/// What an account allows one connection, and the defaults that it gives to all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Grant {
    /// Defaults for connections that do not set a value.
    pub defaults: AccountDefaults,
    /// Which existing resources may be adopted.
    pub adoption: AdoptionRule,
    /// Patterns of reserved S3 actions that statements may allow.
    pub actions: Vec<String>,
    /// Whether the bucket may be emptied on deletion.
    pub force_destroy: bool,
    /// The namespace, as its tag has it: see [`super::DesiredNamespace`].
    pub namespace: Option<String>,
    /// Whether it may continue to use what an earlier namespace of the same name managed.
    pub inherits: bool,
    /// ARNs by which policies can name the operator, once it is signed in: see [`super::names::principals`].
    pub operator: Vec<String>,
    /// The decisions of the entry, for people.
    #[serde(skip)]
    pub report: Report,
}

impl Grant {
    fn of(rule: &NamespaceRule, account: &AWSAccountSpec, report: Report) -> Self {
        Self {
            defaults: account.defaults.clone(),
            adoption: rule.adoption.clone(),
            actions: rule.actions.clone(),
            force_destroy: rule.force_destroy,
            namespace: None,
            inherits: rule.inherit,
            operator: Vec::new(),
            report,
        }
    }

    /// Grant for an account that is not known: everything is assumed to be allowed.
    pub fn of_unknown_account() -> Self {
        let adoption = AdoptionRule { buckets: true, users: true, policies: true, ..AdoptionRule::default() };
        Self { adoption, actions: vec!["*".to_owned()], force_destroy: true, ..Self::default() }
    }

    /// Whether statements may allow a reserved action.
    pub fn allows_action(&self, action: &str) -> bool {
        among_ignoring_case(&self.actions, action)
    }
}

/// Why a connection is not allowed to use an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The reason of the condition.
    pub reason: Reason,
    /// The cause, and who can change it.
    pub message: String,
    /// The decisions of the entry that allows most.
    pub report: Report,
}

/// What an entry allowed and refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Name of the AWSAccount.
    pub account: String,
    /// Index of the entry in `allowedNamespaces`.
    pub rule: usize,
    /// Its decision on each reach.
    pub decisions: Vec<Decision>,
}

/// The decision of an entry on one reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The reach.
    pub reach: Reach,
    /// Whether the entry allows it.
    pub allowed: bool,
    /// The part of the entry that decided.
    pub why: String,
}

impl Report {
    /// The refused reaches.
    pub fn refused(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(|decision| !decision.allowed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "AWSAccount {}, spec.allowedNamespaces[{}]:", self.account, self.rule)?;
        for Decision { reach, allowed, why } in &self.decisions {
            writeln!(f, "    {}: {reach} ({why})", if *allowed { "allowed" } else { "refused" })?;
        }
        Ok(())
    }
}

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Whether the labels of `namespace` matter in `account`.
pub fn asks_labels(account: &AWSAccountSpec, namespace: &str) -> bool {
    account.allowed_namespaces.iter().any(|rule| rule.selector.is_some() && named(rule, namespace))
}

/// Whether any entry of `account` could allow something to `namespace`, judging by its name alone.
pub fn admits(account: &AWSAccountSpec, namespace: &str) -> bool {
    account.allowed_namespaces.iter().any(|rule| named(rule, namespace))
}

/// The grant by which `object`, in a namespace with `labels` and so many `earlier` connections, may use `account`, or
/// why it may not. One entry must allow everything. Trusts the status of `object`.
pub fn authorize(object: &BucketConnection, labels: &Labels, account: &AWSAccount, earlier: usize) -> Result<Grant, Refusal> {
    let (name, namespace) = (account.name_any(), object.namespace().unwrap_or_default());
    // Otherwise the account could never be deleted.
    if account.metadata.deletion_timestamp.is_some() && !object.owns_resources() {
        let message = format!(
            "AWSAccount {name} is being deleted and takes no new connections: delete this BucketConnection, or create one that names another AWSAccount in accountRef"
        );
        return Err(Refusal { reason: Reason::AccountNotFound, message, report: Report::default() });
    }
    let reaches = reaches(object, &account.spec, earlier);
    let mut nearest: Option<Report> = None;
    for (place, rule) in rules_for(&account.spec, &namespace, labels) {
        let decisions = reaches.iter().map(|reach| decide(reach, rule, &account.spec));
        let report = Report { account: name.clone(), rule: place, decisions: decisions.chain(misspelled(rule)).collect() };
        let refused = report.refused().count();
        if refused == 0 {
            return Ok(Grant::of(rule, &account.spec, report));
        }
        if nearest.as_ref().is_none_or(|nearest| refused < nearest.refused().count()) {
            nearest = Some(report);
        }
    }
    let ask = "ask the platform team to allow it in spec.allowedNamespaces";
    let report = nearest.unwrap_or_default();
    let refused: Vec<_> = report.refused().map(|refused| format!("{} ({})", refused.reach, refused.why)).collect();
    let message = if refused.is_empty() {
        format!("AWSAccount {name} allows nothing to namespace {namespace}; {ask}")
    } else {
        format!(
            "AWSAccount {name} does not allow namespace {namespace}: {}; {ask}[{}], the entry that allows most of it",
            refused.join("; "),
            report.rule
        )
    };
    Err(Refusal { reason: Reason::NotAllowed, message, report })
}

/// The grant by which `object` is deleted. Deletion ignores the entries, because otherwise keys could stay behind that
/// no one can delete. Only destroying the contents of the bucket needs an entry.
pub fn deletion_grant(object: &BucketConnection, labels: &Labels, account: &AWSAccount) -> Grant {
    let namespace = object.namespace().unwrap_or_default();
    let force_destroy = rules_for(&account.spec, &namespace, labels).any(|(_, rule)| rule.force_destroy);
    Grant { defaults: account.spec.defaults.clone(), force_destroy, ..Grant::default() }
}

/// The entries that apply to a namespace, with their indexes.
fn rules_for<'a>(
    account: &'a AWSAccountSpec,
    namespace: &'a str,
    labels: &'a Labels,
) -> impl Iterator<Item = (usize, &'a NamespaceRule)> {
    account.allowed_namespaces.iter().enumerate().filter(move |(_, rule)| {
        named(rule, namespace) && rule.selector.as_ref().is_none_or(|selector| selects(selector, labels))
    })
}

/// An entry with an unknown field allows nothing: the field may have been meant to narrow the entry.
fn misspelled(rule: &NamespaceRule) -> Option<Decision> {
    let why = format!("the entry allows nothing: {}", wrong_fields(&rule.unknown)?);
    Some(Decision { reach: Reach::new("everything", Need::Statements), allowed: false, why })
}

/// The decision of `rule` on `reach`.
fn decide(reach: &Reach, rule: &NamespaceRule, account: &AWSAccountSpec) -> Decision {
    let (allowed, why) = match &reach.need {
        Need::Bucket(name) => listed("buckets", &rule.buckets, name),
        Need::Region(name) => listed("regions", &rule.regions, name),
        Need::Preset(name) => listed("presets", &rule.presets.iter().map(|preset| name_of(*preset)).collect::<Vec<_>>(), name),
        Need::User(name) => listed("users", &rule.users, name),
        Need::Host(name) => listed("hosts", &rule.hosts, name),
        Need::KmsKey(arn) if account.defaults.kms_key_arn.as_ref() == Some(arn) => (true, "the account's own".to_owned()),
        Need::KmsKey(arn) => listed("kmsKeys", &rule.kms_keys, arn),
        Need::PermissionsBoundary(arn) => match &account.defaults.permissions_boundary {
            Some(set) => (arn == set, format!("the account sets {set}")),
            None => listed("permissionsBoundaries", &rule.permissions_boundaries, arn),
        },
        Need::Tag(key) => tag(key, rule, account),
        Need::Action(action) => (among_ignoring_case(&rule.actions, action), shown("actions", &rule.actions)),
        Need::Weaker(setting) => {
            let allowed = rule.weaken.iter().any(|name| name == setting || name == "*");
            (allowed, if allowed { shown("weaken", &rule.weaken) } else { format!("needs weaken: [{setting}]") })
        }
        Need::Statements => flag("statements", rule.statements),
        Need::CustomPolicy => flag("customPolicy", rule.custom_policy),
        Need::CrossAccountCopy => flag("crossAccountCopy", rule.cross_account_copy),
        Need::ComplianceRetention => flag("complianceRetention", rule.compliance_retention),
        Need::ForceDestroy => flag("forceDestroy", rule.force_destroy),
        Need::Adoption(Adopted::Bucket) => flag("adoption.buckets", rule.adoption.buckets),
        Need::Adoption(Adopted::User) => flag("adoption.users", rule.adoption.users),
        Need::Adoption(Adopted::Policy) => flag("adoption.policies", rule.adoption.policies),
        Need::Connection(earlier) => {
            let most = rule.max_connections.unwrap_or(MAX_CONNECTIONS);
            (*earlier < usize::try_from(most).unwrap_or(usize::MAX), format!("maxConnections: {most}"))
        }
        Need::ResyncInterval(time) => {
            at_least("minResyncInterval", rule.min_resync_interval.as_ref(), MIN_RESYNC_INTERVAL, *time)
        }
        Need::RotationInterval(time) => {
            at_least("minRotationInterval", rule.min_rotation_interval.as_ref(), MIN_ROTATION_INTERVAL, *time)
        }
    };
    Decision { reach: reach.clone(), allowed, why }
}

fn listed(field: &str, patterns: &[String], value: &str) -> (bool, String) {
    let fits = patterns.iter().find(|pattern| rule_matches(pattern, value));
    fits.map_or_else(|| (false, shown("allowed", patterns)), |pattern| (true, format!("{field}: {pattern}")))
}

/// Policies can depend on the tags that the platform sets, so a connection overrides one only if the entry names it.
fn tag(key: &str, rule: &NamespaceRule, account: &AWSAccountSpec) -> (bool, String) {
    let of_account = account.defaults.tags.keys().any(|default| default.eq_ignore_ascii_case(key));
    if of_account {
        let named = rule.tags.iter().any(|listed| listed.eq_ignore_ascii_case(key));
        return (named, format!("the account sets it; needs tags: [{key}]"));
    }
    (among_ignoring_case(&rule.tags, key), shown("tags", &rule.tags))
}

fn among_ignoring_case(patterns: &[String], value: &str) -> bool {
    patterns.iter().any(|pattern| rule_matches(&pattern.to_lowercase(), &value.to_lowercase()))
}

fn shown(what: &str, patterns: &[String]) -> String {
    if patterns.is_empty() { format!("{what}: none") } else { format!("{what}: {}", patterns.join(", ")) }
}

fn flag(field: &str, allowed: bool) -> (bool, String) {
    (allowed, if allowed { format!("{field}: true") } else { format!("needs {field}: true") })
}

fn at_least(field: &str, least: Option<&Period>, default: Duration, time: Duration) -> (bool, String) {
    let (least, shown) = match least {
        Some(period) => (period.length().unsigned_abs(), period.to_string()),
        None => (default, format!("{}s", default.as_secs())),
    };
    (time >= least, format!("{field}: {shown}"))
}

fn named(rule: &NamespaceRule, namespace: &str) -> bool {
    (rule.names.is_empty() && rule.selector.is_some()) || rule.names.iter().any(|pattern| rule_matches(pattern, namespace))
}

/// Whether `selector` selects `labels`; an invalid selector selects nothing.
fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests;
