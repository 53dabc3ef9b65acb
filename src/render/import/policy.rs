//! The preset, and the user's policy: as a preset if it is a preset's, otherwise as statements.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Found, Import, Wish, resolve};
use crate::api::{BucketConnection, Effect, IlluminaICASpec, PolicyScope, PolicySpec, PolicyStatement, Preset};
use crate::observed::{ExistingPolicy, ExistingUser};
use crate::settings::SettingId;
use crate::vocabulary::policy_language::{canonical_statement, strings};

/// The presets that a policy can be of, in the order in which they are tried.
const PRESETS: [Preset; 5] = [Preset::IlluminaICA, Preset::CLCGenomics, Preset::ReadWrite, Preset::ReadOnly, Preset::WriteOnly];

/// The elements of a statement that a spec has.
const ELEMENTS: [&str; 5] = ["Sid", "Effect", "Action", "Resource", "Condition"];

/// Chooses the preset, with the policy of the user if it has one.
pub(super) fn choose(import: &mut Import, wish: &Wish, found: &Found<'_>) {
    let policy = found.user.and_then(|user| only_policy(import, user));
    if let Some(policy) = policy {
        if let Some(object) = of_preset(&import.object, policy, wish, found) {
            import.object = object;
            return;
        }
        match custom(&import.object, policy, found) {
            Ok(object) if wish.preset.is_none_or(|preset| preset == Preset::Custom) => {
                import.object = object;
                import.needs.push("customPolicy: true".to_owned());
                return;
            }
            Ok(_) => {
                import.note("policy", &format!("{} is not the policy of the preset; the plan shows the differences", policy.name))
            }
            Err(why) => {
                import.note("policy", &format!("{} cannot be expressed: {why}; the plan shows the differences", policy.name))
            }
        }
        import.object.spec.policy = Some(adopted(policy));
    }
    guess(import, wish, found);
}

/// The one policy of the user that the connection can manage.
fn only_policy<'a>(import: &mut Import, user: &'a ExistingUser) -> Option<&'a ExistingPolicy> {
    match &user.policies[..] {
        [] => None,
        [policy] => {
            // The operator finds a managed policy under the path of the user.
            let place = policy.arn.as_ref().map(|arn| arn.ends_with(&format!(":policy{}{}", user.user.path, policy.name)));
            if place == Some(false) {
                let arn = policy.arn.as_deref().unwrap_or_default();
                import.note("policy", &format!("{arn} is not under the path of the user, {}: it is not adopted", user.user.path));
                return None;
            }
            import.needs.push("adoption.policies".to_owned());
            Some(policy)
        }
        more => {
            import.note("policy", &format!("the user has {} policies, and a connection has one: none is adopted", more.len()));
            None
        }
    }
}

/// The spec of an existing policy, without statements.
fn adopted(policy: &ExistingPolicy) -> PolicySpec {
    PolicySpec { kind: policy.kind, name: Some(policy.name.clone()), adopt: true, ..PolicySpec::default() }
}

/// The object with the preset whose document the policy is.
fn of_preset(object: &BucketConnection, policy: &ExistingPolicy, wish: &Wish, found: &Found<'_>) -> Option<BucketConnection> {
    let prefixes = match &object.spec.bucket.prefix {
        Some(prefix) => vec![Some(prefix.clone())],
        None if wish.prefix.is_some() => vec![None],
        None => prefixes(&policy.document, found.bucket).into_iter().map(Some).chain([None]).collect(),
    };
    let presets = wish.preset.map_or_else(|| PRESETS.to_vec(), |preset| vec![preset]);
    for prefix in prefixes {
        for (preset, scope, copy_tags) in options(&presets, prefix.is_some()) {
            let mut object = with_preset(object, preset, prefix.clone());
            object.spec.policy = Some(PolicySpec { scope, ..adopted(policy) });
            object.spec.illumina_ica = copy_tags.then(|| IlluminaICASpec { copy_tags, ..IlluminaICASpec::default() });
            if is_document(&object, policy, found) {
                return Some(object);
            }
        }
    }
    None
}

fn options(presets: &[Preset], prefix: bool) -> Vec<(Preset, PolicyScope, bool)> {
    let scopes = if prefix { vec![PolicyScope::Prefix, PolicyScope::Bucket] } else { vec![PolicyScope::Prefix] };
    let with_tags = |preset: Preset| if preset == Preset::IlluminaICA { vec![false, true] } else { vec![false] };
    let of = |preset| scopes.iter().flat_map(move |scope| with_tags(preset).into_iter().map(move |tags| (preset, *scope, tags)));
    presets.iter().copied().flat_map(of).collect()
}

fn with_preset(object: &BucketConnection, preset: Preset, prefix: Option<String>) -> BucketConnection {
    let mut object = object.clone();
    object.spec.preset = preset;
    object.spec.bucket.allow_root = preset == Preset::IlluminaICA && prefix.is_none();
    object.spec.bucket.prefix = prefix;
    object
}

fn is_document(object: &BucketConnection, policy: &ExistingPolicy, found: &Found<'_>) -> bool {
    resolve(object, found.account).is_ok_and(|desired| desired.policy.document.same_as(&policy.document))
}

/// The object with the policy's statements.
fn custom(object: &BucketConnection, policy: &ExistingPolicy, found: &Found<'_>) -> Result<BucketConnection, String> {
    let mut object = with_preset(object, Preset::Custom, object.spec.bucket.prefix.clone());
    let all = match policy.document.get("Statement") {
        Some(Value::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
        None => return Err("it is no policy document".to_owned()),
    };
    let statements = all.iter().map(statement).collect::<Result<_, _>>()?;
    object.spec.policy = Some(PolicySpec { statements, ..adopted(policy) });
    let desired = resolve(&object, found.account)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    if desired.policy.document.same_as(&policy.document) { Ok(object) } else { Err("a spec cannot say the same".to_owned()) }
}

fn statement(there: &Value) -> Result<PolicyStatement, String> {
    let elements = there.as_object().ok_or("a statement is no object")?;
    if let Some(other) = elements.keys().find(|name| !ELEMENTS.contains(&name.as_str())) {
        return Err(format!("a spec has no {other}"));
    }
    let list = |element: &str| elements.get(element).and_then(strings).map(|all| all.into_iter().collect::<Vec<_>>());
    let keys = |keys: &Value| -> Option<BTreeMap<String, Vec<String>>> {
        let keys = keys.as_object()?.iter();
        keys.map(|(key, values)| Some((key.clone(), strings(values)?.into_iter().collect()))).collect()
    };
    let conditions = elements.get("Condition").map(|tests| {
        let tests = tests.as_object()?.iter();
        tests.map(|(test, values)| Some((test.clone(), keys(values)?))).collect::<Option<_>>()
    });
    let canonical = canonical_statement(there).ok_or("a statement is not readable")?;
    let effect = match canonical.get("Effect").and_then(Value::as_str) {
        Some("allow") => Effect::Allow,
        Some("deny") => Effect::Deny,
        _ => return Err("a statement has no Effect".to_owned()),
    };
    Ok(PolicyStatement {
        sid: elements.get("Sid").and_then(Value::as_str).filter(|sid| !sid.is_empty()).map(str::to_owned),
        effect,
        actions: list("Action").ok_or("a statement has no Action")?,
        resources: list("Resource").ok_or("a statement has no Resource")?,
        conditions: conditions.unwrap_or_else(|| Some(BTreeMap::new())).ok_or("a condition is not readable")?,
        unknown: Default::default(),
    })
}

/// The prefixes that a policy document names in the bucket, longest first.
fn prefixes(document: &Value, bucket: &str) -> Vec<String> {
    let statements = match document.get("Statement") {
        Some(Value::Array(all)) => all.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let resources = statements.iter().filter_map(|statement| statement.get("Resource").and_then(strings)).flatten();
    let inside = format!(":::{bucket}/");
    let prefix = |arn: String| arn.split_once(&inside).map(|(_, prefix)| prefix.trim_end_matches('*').to_owned());
    let found: BTreeSet<_> =
        resources.filter_map(prefix).filter(|prefix| prefix.ends_with('/') && !prefix.contains('*')).collect();
    found.into_iter().rev().collect()
}

/// The preset without a policy: ICA's if the CORS rules are its own, otherwise reading and writing.
fn guess(import: &mut Import, wish: &Wish, found: &Found<'_>) {
    let prefix = import.object.spec.bucket.prefix.clone();
    if let Some(preset) = wish.preset {
        if preset == Preset::Custom {
            import.note("preset", "Custom needs policy.statements: list the permissions of the user");
        }
        import.object = with_preset(&import.object, preset, prefix);
        return;
    }
    let mut ica = with_preset(&import.object, Preset::IlluminaICA, prefix.clone());
    ica.spec.settings.cors = None;
    let fits = resolve(&ica, found.account).is_ok_and(|desired| {
        desired.bucket.settings.changes(found.live).0.iter().all(|change| change.setting != SettingId::Cors)
    });
    let preset = if fits { Preset::IlluminaICA } else { Preset::ReadWrite };
    let why = if fits { "the bucket has ICA's CORS rules" } else { "the bucket alone does not show what works on it" };
    import.note("preset", &format!("{preset} is a guess: {why}; --preset chooses another"));
    import.object = with_preset(&import.object, preset, prefix);
}
