//! What a change of policy statements takes away: which actions on which resources are no longer allowed, or newly
//! denied.
//!
//! A statement is compared with single statements of the other document. So it can happen that access is reported as
//! lost although several statements together still allow it; access that is lost is always reported.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::policy_language::{canonical_principal, strings};
use super::wildcard::policy_covers;

/// Access that a change takes away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// The field of the spec that the statement comes from.
    pub path: String,
    /// Whether a Deny takes it away, instead of a missing Allow.
    pub denied: bool,
    /// The actions, the resources, and the principals and conditions if there are some.
    pub what: String,
}

/// What the change of a document's statements from `before` to `after` takes away from those who have access by this
/// document alone, such as a user by its policy.
pub fn losses(path: &str, before: &[Value], after: &[Value]) -> Vec<Loss> {
    let (before, mut after) = (read(before), read(after));
    let allowing: Vec<_> = before.iter().filter(|statement| !statement.denies).collect();
    after.iter_mut().filter(|statement| statement.denies).for_each(|statement| statement.limit(&allowing));
    compared(path, &before, &after)
}

/// The same for a document that is only a part of what gives access, such as a bucket policy.
pub fn losses_of_all(path: &str, before: &[Value], after: &[Value]) -> Vec<Loss> {
    compared(path, &read(before), &read(after))
}

fn compared(path: &str, before: &[Statement], after: &[Statement]) -> Vec<Loss> {
    let beyond = |denied: bool, these: &[Statement], those: &[Statement]| {
        let these = these.iter().filter(|statement| statement.denies == denied);
        let texts = these.flat_map(|statement| statement.beyond(those));
        texts.map(|what| Loss { path: path.to_owned(), denied, what }).collect::<Vec<_>>()
    };
    let mut losses = beyond(false, before, after);
    losses.extend(beyond(true, after, before));
    losses
}

/// A statement, with its words as they are written.
#[derive(Default)]
struct Statement {
    denies: bool,
    /// "NotAction" and "NotResource" count as one action or resource that is only like itself.
    actions: Vec<String>,
    resources: Vec<String>,
    /// One empty principal if the statement has none.
    principals: Vec<String>,
    conditions: Vec<Condition>,
}

struct Condition {
    operator: String,
    key: String,
    values: BTreeSet<String>,
}

fn read(statements: &[Value]) -> Vec<Statement> {
    statements.iter().map(Statement::of).collect()
}

impl Statement {
    fn of(statement: &Value) -> Self {
        let list = |name: &str| {
            let values = |name: &str| strings(&statement[name]).map(Vec::from_iter);
            let not = || values(&format!("Not{name}")).map(|all| vec![format!("all except {}", all.join(", "))]);
            // As they are written: a set would sort them.
            let written = statement[name].as_array().map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect());
            written.or_else(|| values(name)).or_else(not).unwrap_or_default()
        };
        let conditions = statement["Condition"].as_object().into_iter().flatten().flat_map(|(operator, keys)| {
            keys.as_object().into_iter().flatten().map(move |(key, values)| Condition {
                operator: operator.clone(),
                key: key.clone(),
                values: strings(values).unwrap_or_default(),
            })
        });
        Self {
            denies: statement["Effect"].as_str().is_some_and(|effect| effect.eq_ignore_ascii_case("Deny")),
            actions: list("Action"),
            resources: list("Resource"),
            principals: principals(statement),
            conditions: conditions.collect(),
        }
    }

    /// The parts of this statement that no single statement of `others` with the same effect covers, in words.
    fn beyond(&self, others: &[Self]) -> Vec<String> {
        let others: Vec<_> = others.iter().filter(|other| other.denies == self.denies).collect();
        let open: Vec<_> = others.iter().map(|other| self.outside(other)).collect();
        let own: String = self.conditions.iter().map(|condition| condition.words("where", &condition.values)).collect();
        let covers_action = |other: &Self, action: &str| {
            other.actions.iter().any(|own| policy_covers(&own.to_lowercase(), &action.to_lowercase()))
        };
        let covers_resource = |other: &Self, resource: &str| other.resources.iter().any(|own| policy_covers(own, resource));
        let covers_principal =
            |other: &Self, name: &str| other.principals.iter().any(|own| own == name || own == EVERYONE && is_of_aws(name));
        let mut remains: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        let resources = classes(&self.resources, &others, covers_resource);
        let principals = classes(&self.principals, &others, covers_principal);
        for (by_action, actions) in classes(&self.actions, &others, covers_action) {
            for ((by_resource, resources), (by_principal, principals)) in
                resources.iter().flat_map(|resources| principals.iter().map(move |principals| (resources, principals)))
            {
                let covers = |index: &usize| by_action[*index] && by_resource[*index] && by_principal[*index];
                let mut about = (0..others.len()).filter(covers).map(|index| &open[index]).peekable();
                let conditions = about.peek().map_or(&own, |open| open).clone();
                if !about.any(String::is_empty) {
                    remains.entry((actions.clone(), principals, conditions)).or_default().extend(resources);
                }
            }
        }
        let mut merged: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for ((actions, principals, conditions), resources) in remains {
            merged.entry((actions, resources, conditions)).or_default().extend(principals);
        }
        let parts = merged.into_iter();
        parts.map(|((actions, resources, open), principals)| words(&actions, &resources, &principals) + &open).collect()
    }

    /// Leaves out what none of `allowing` allows: a Deny of that takes nothing away.
    fn limit(&mut self, allowing: &[&Self]) {
        let touches = |one: &str, other: &str| policy_covers(one, other) || policy_covers(other, one);
        let acts = |of: &Self, action: &String| of.actions.iter().any(|own| touches(&own.to_lowercase(), &action.to_lowercase()));
        let is_on = |of: &Self, resource: &String| of.resources.iter().any(|own| touches(own, resource));
        let about: Vec<_> = allowing
            .iter()
            .filter(|of| self.actions.iter().any(|action| acts(of, action)) && self.resources.iter().any(|one| is_on(of, one)))
            .collect();
        self.actions.retain(|action| about.iter().any(|of| acts(of, action)));
        self.resources.retain(|resource| about.iter().any(|of| is_on(of, resource)));
    }

    /// What the conditions of `other` leave out of this statement, in words; nothing if they leave out nothing.
    fn outside(&self, other: &Self) -> String {
        let parts = other.conditions.iter().filter_map(|theirs| {
            let own = self
                .conditions
                .iter()
                .find(|own| own.operator.eq_ignore_ascii_case(&theirs.operator) && own.key.eq_ignore_ascii_case(&theirs.key));
            let Some(own) = own else { return Some(theirs.words("except where", &theirs.values)) };
            let left = theirs.leaves(own);
            let (relation, values) = if theirs.is_negated() { ("except where", &theirs.values) } else { ("where", &left) };
            (!left.is_empty()).then(|| theirs.words(relation, values))
        });
        parts.collect()
    }
}

impl Condition {
    fn is_negated(&self) -> bool {
        self.operator.to_lowercase().contains("not")
    }

    /// The values of `own`, a condition with the same operator and key, with which this one is not met.
    fn leaves(&self, own: &Self) -> BTreeSet<String> {
        let operator = self.operator.to_lowercase();
        let same = |pattern: &String, value: &String| match operator.contains("like") {
            true => policy_covers(pattern, value),
            false => pattern == value,
        };
        let covered = |value: &String, by: &BTreeSet<String>| by.iter().any(|pattern| same(pattern, value));
        // A negated condition is met by more requests if it has fewer values.
        let (values, by) = if self.is_negated() { (&self.values, &own.values) } else { (&own.values, &self.values) };
        values.iter().filter(|value| !covered(value, by)).cloned().collect()
    }

    fn words(&self, relation: &str, values: &BTreeSet<String>) -> String {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        format!(" {relation} {} {} {}", self.operator, self.key, values.join(", "))
    }
}

const EVERYONE: &str = "*";

/// Whether a principal is one of kind AWS: only such have no kind before their name.
fn is_of_aws(principal: &str) -> bool {
    !principal.contains(' ')
}

fn principals(statement: &Value) -> Vec<String> {
    let named = |(kind, names): (String, BTreeSet<String>)| {
        let name = move |name: String| if kind == "AWS" { name } else { format!("{kind} {name}") };
        names.into_iter().map(name)
    };
    match (&statement["Principal"], &statement["NotPrincipal"]) {
        (Value::Null, Value::Null) => vec![String::new()],
        (Value::Null, others) => vec![format!("all except {others}")],
        (principal, _) => canonical_principal(principal).into_iter().flatten().flat_map(named).collect(),
    }
}

/// The items that the same of `others` cover, by these: far fewer than the items, however many a tenant writes.
fn classes<'a>(
    items: &'a [String],
    others: &[&Statement],
    covers: impl Fn(&Statement, &str) -> bool,
) -> BTreeMap<Vec<bool>, Vec<&'a str>> {
    let mut classes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        classes.entry(others.iter().map(|other| covers(other, item)).collect()).or_default().push(item.as_str());
    }
    classes
}

fn words(actions: &[&str], resources: &[&str], principals: &[&str]) -> String {
    let mut text = format!("{} on {}", actions.join(", "), resources.join(", "));
    if !principals.iter().any(|name| ["", EVERYONE].contains(name)) {
        text += &format!(" for {}", principals.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::wildcard::policy_matches;
    use super::*;

    /// The losses of a user whose policy changes, one in a text.
    fn lost(before: Value, after: Value) -> Vec<String> {
        let list = |value: Value| if let Value::Array(list) = value { list } else { vec![value] };
        let shown = |loss: Loss| format!("{}{}", if loss.denied { "denied " } else { "" }, loss.what);
        losses("policy", &list(before), &list(after)).into_iter().map(shown).collect()
    }

    fn allow(actions: Value, resources: Value, conditions: Value) -> Value {
        json!({ "Effect": "Allow", "Action": actions, "Resource": resources, "Condition": conditions })
    }

    fn prefix(values: Value) -> Value {
        json!({ "StringLike": { "s3:prefix": values } })
    }

    const BUCKET: &str = "arn:aws:s3:::b";

    #[test]
    fn narrower_statements_lose_what_is_outside() {
        let list = |conditions: Value| allow(json!(["s3:ListBucket"]), json!([BUCKET]), conditions);
        let objects = |actions: Value, resource: &str| allow(actions, json!([format!("{BUCKET}/{resource}")]), json!({}));
        let both = json!(["s3:GetObject", "s3:PutObject"]);
        let cases = [
            // Resources.
            (objects(both.clone(), "*"), objects(both.clone(), "runs/*"), vec!["s3:GetObject, s3:PutObject on arn:aws:s3:::b/*"]),
            (objects(both.clone(), "runs/*"), objects(both.clone(), "*"), vec![]),
            (
                objects(both.clone(), "a/*"),
                objects(both.clone(), "b/*"),
                vec!["s3:GetObject, s3:PutObject on arn:aws:s3:::b/a/*"],
            ),
            // Actions; in any case, and behind wildcards.
            (objects(both.clone(), "*"), objects(json!("S3:getobject"), "*"), vec!["s3:PutObject on arn:aws:s3:::b/*"]),
            (objects(both.clone(), "*"), objects(json!("s3:*Object"), "*"), vec![]),
            (objects(json!("s3:*"), "*"), objects(both.clone(), "*"), vec!["s3:* on arn:aws:s3:::b/*"]),
            (objects(json!("s3:Get*"), "*"), objects(json!("s3:Get?bject"), "*"), vec!["s3:Get* on arn:aws:s3:::b/*"]),
            // Conditions.
            (
                list(json!({})),
                list(prefix(json!("runs/*"))),
                vec!["s3:ListBucket on arn:aws:s3:::b except where StringLike s3:prefix runs/*"],
            ),
            (list(prefix(json!("runs/*"))), list(json!({})), vec![]),
            (
                list(prefix(json!(["a/*", "b/*"]))),
                list(prefix(json!(["a/*"]))),
                vec!["s3:ListBucket on arn:aws:s3:::b where StringLike s3:prefix b/*"],
            ),
            (list(prefix(json!(["a/1/*"]))), list(json!({ "stringlike": { "S3:Prefix": "a/*" } })), vec![]),
            (list(prefix(json!("a/*"))), json!([]), vec!["s3:ListBucket on arn:aws:s3:::b where StringLike s3:prefix a/*"]),
            (
                list(json!({ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } })),
                list(json!({ "NotIpAddress": { "aws:SourceIp": ["10.0.0.0/8", "11.0.0.0/8"] } })),
                vec!["s3:ListBucket on arn:aws:s3:::b except where NotIpAddress aws:SourceIp 10.0.0.0/8, 11.0.0.0/8"],
            ),
            // A wildcard of the account.
            (allow(json!("sts:GetFederationToken"), json!("*"), json!({})), json!([]), vec!["sts:GetFederationToken on *"]),
            // Another statement still allows it.
            (
                objects(both.clone(), "a/*"),
                json!([objects(json!("s3:GetObject"), "*"), objects(json!("s3:PutObject"), "a/*")]),
                vec![],
            ),
        ];
        for (before, after, expected) in cases {
            assert_eq!(lost(before.clone(), after.clone()), expected, "{before} {after}");
        }
    }

    #[test]
    fn a_deny_takes_away_what_was_allowed() {
        let objects = json!(format!("{BUCKET}/*"));
        let allowed = || allow(json!(["s3:GetObject", "s3:PutObject"]), objects.clone(), json!({}));
        let deny = |actions: Value, conditions: Value| json!({ "Effect": "Deny", "Action": actions, "Resource": "*", "Condition": conditions });
        let now = |statement: Value| json!([allowed(), statement]);
        assert_eq!(lost(allowed(), now(deny(json!("s3:Put*"), json!({})))), ["denied s3:Put* on *"]);
        assert_eq!(lost(allowed(), now(deny(json!("s3:PutBucketPolicy"), json!({})))), [""; 0], "it was never allowed");
        let other = json!({ "Effect": "Deny", "Action": "s3:PutObject", "Resource": [BUCKET] });
        assert_eq!(lost(allowed(), now(other)), [""; 0], "nor that, on the bucket itself");
        let denied = || now(deny(json!("s3:*"), json!({ "Bool": { "aws:SecureTransport": "false" } })));
        assert_eq!(lost(allowed(), denied()), ["denied s3:* on * where Bool aws:SecureTransport false"]);
        assert_eq!(lost(denied(), denied()), [""; 0]);
        assert_eq!(
            lost(denied(), now(deny(json!("s3:*"), json!({})))),
            ["denied s3:* on * except where Bool aws:SecureTransport false"]
        );
    }

    #[test]
    fn principals_of_a_bucket_policy_count() {
        let allow = |principals: Value| {
            [json!({ "Effect": "Allow", "Principal": principals, "Action": "s3:GetObject", "Resource": format!("{BUCKET}/*") })]
        };
        let lost = |before: Value, after: Value| {
            losses_of_all("p", &allow(before), &allow(after)).into_iter().map(|loss| loss.what).collect::<Vec<_>>()
        };
        assert_eq!(
            lost(json!({ "AWS": ["1", "2"] }), json!({ "AWS": "arn:aws:iam::2:root" })),
            ["s3:GetObject on arn:aws:s3:::b/* for 1"]
        );
        assert_eq!(lost(json!({ "AWS": ["1", "2"] }), json!({ "AWS": "3" })), ["s3:GetObject on arn:aws:s3:::b/* for 1, 2"]);
        assert_eq!(lost(json!({ "AWS": ["1", "2"] }), json!("*")), [""; 0]);
        assert_eq!(lost(json!({ "Service": "logging" }), json!("*")), ["s3:GetObject on arn:aws:s3:::b/* for Service logging"]);
        assert_eq!(lost(json!("*"), json!({ "Service": "logging" })), ["s3:GetObject on arn:aws:s3:::b/*"]);
    }

    fn some(of: [&'static str; 3]) -> impl Strategy<Value = Vec<&'static str>> {
        prop::sample::subsequence(of.to_vec(), 1..=2)
    }

    fn statement() -> impl Strategy<Value = Value> {
        let (actions, resources) = (some(["s3:Get", "s3:Put", "s3:*"]), some(["b", "b/*", "b/x/*"]));
        let operator = prop::sample::select(vec!["StringLike", "StringEquals", "StringNotLike"]);
        let condition = prop::option::weighted(0.4, (operator, some(["x/*", "x/1", "*"])));
        (prop::bool::weighted(0.2), actions, resources, condition).prop_map(|(denies, actions, resources, condition)| {
            let effect = if denies { "Deny" } else { "Allow" };
            let condition = condition.map_or(json!({}), |(operator, values)| json!({ operator: { "s3:prefix": values } }));
            json!({ "Effect": effect, "Action": actions, "Resource": resources, "Condition": condition })
        })
    }

    /// Whether a document allows a request, as IAM evaluates it.
    fn allows(document: &[Value], (action, resource, prefix): (&str, &str, &str)) -> bool {
        let any = |list: &Value, text: &str| strings(list).unwrap().iter().any(|pattern| policy_matches(pattern, text));
        let met = |(operator, keys): (&String, &Value)| match operator.as_str() {
            "StringLike" => any(&keys["s3:prefix"], prefix),
            "StringEquals" => strings(&keys["s3:prefix"]).unwrap().contains(prefix),
            _ => !any(&keys["s3:prefix"], prefix),
        };
        let matches = |statement: &&Value| {
            let conditions = statement["Condition"].as_object().unwrap();
            any(&statement["Action"], action) && any(&statement["Resource"], resource) && conditions.iter().all(met)
        };
        let mut matching = document.iter().filter(matches).peekable();
        matching.peek().is_some() && matching.all(|statement| statement["Effect"] == "Allow")
    }

    proptest! {
        #[test]
        fn access_that_is_lost_is_reported(
            before in prop::collection::vec(statement(), 0..3),
            after in prop::collection::vec(statement(), 0..3),
        ) {
            let requests = ["s3:Get", "s3:Put"].into_iter().flat_map(|action| {
                let of_action = ["b", "b/x/1", "b/y"].into_iter().map(move |resource| (action, resource));
                of_action.flat_map(|(action, resource)| ["x/1", "x/2", "y"].map(|prefix| (action, resource, prefix)))
            });
            let lost: Vec<_> = requests.filter(|request| allows(&before, *request) && !allows(&after, *request)).collect();
            let reported = losses("policy", &before, &after);
            prop_assert!(lost.is_empty() || !reported.is_empty(), "{:?}", lost);
            prop_assert_eq!(losses("policy", &before, &before), []);
        }
    }
}
