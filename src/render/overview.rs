//! Plans for machines and for pull requests: the JSON of `plan -o json`, and Markdown.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::{Consequences, because, consequences, fields, plural, printable, sign, summary};
use crate::api::BucketConnectionSpec;
use crate::desired::Desired;
use crate::desired::tenancy::Report;
use crate::plan::{Plan, Step};

/// Longest value that Markdown shows whole.
const VALUE_LENGTH: usize = 120;

/// The plans of several objects.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Each object, in the order in which the command got them.
    pub objects: Vec<Object>,
    /// How many are in which state.
    pub summary: Summary,
}

/// How many objects are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Objects with steps or differences, and without problems.
    pub to_change: usize,
    /// Objects with a problem that blocks them, as a whole or in part.
    pub blocked: usize,
    /// Objects in sync.
    pub in_sync: usize,
    /// Objects without a plan.
    pub failed: usize,
    /// Steps of all plans.
    pub steps: usize,
}

/// The plan of one object, or why there is none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// `namespace/name`; of a file that cannot be read, its name.
    pub name: String,
    /// Why there is no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is worth knowing about the plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<View>,
}

/// A plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Whether the observed state is the desired state, and the spec itself takes nothing away.
    pub in_sync: bool,
    /// Whether a problem prevents all changes.
    pub frozen: bool,
    /// The steps, each after those that it depends on.
    pub steps: Vec<StepView>,
    /// Differences in sections that are only observed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observed: Vec<StepView>,
    /// What blocks a part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// An adoption that waits for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// What it takes away.
    pub consequences: Consequences,
    /// The entry of the AWSAccount that allows it, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allowed: String,
}

/// A step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// What it does, such as `CreateBucket`.
    pub action: &'static str,
    /// `+` creates, `~` changes, `-` removes, `?` only tries.
    pub sign: char,
    /// The step in words.
    pub summary: String,
    /// Why it is part of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Whether it reverts drift.
    pub drift: bool,
    /// The condition that reports it.
    pub condition: String,
    /// Indexes of the steps that must succeed first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<usize>,
    /// The fields that it changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// A field that differs.
#[derive(Debug, Serialize)]
pub struct Field {
    /// The field.
    pub path: String,
    /// The observed value; null if there is none.
    pub observed: Option<Value>,
    /// The desired value; null if there is none.
    pub desired: Option<Value>,
}

/// What blocks a part.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// The condition that reports it.
    pub condition: String,
    /// Its reason.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
}

/// An adoption that waits for approval.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Adoption {
    /// The hash to approve.
    pub plan_hash: String,
    /// What it changes in existing resources.
    pub changes: Vec<Field>,
}

impl View {
    /// The view of `plan`. `applied` is the spec in the cluster, if the plan is for another one.
    pub fn of(plan: &Plan, desired: &Desired, report: &Report, applied: Option<&BucketConnectionSpec>) -> Self {
        let steps = |steps: &[Step], executed: bool| {
            steps.iter().map(|step| StepView::of(plan, step, desired, executed)).collect::<Vec<_>>()
        };
        let problems = plan.blockers.iter().map(|blocker| Problem {
            condition: blocker.part.to_string(),
            reason: blocker.reason.to_string(),
            message: blocker.message.clone(),
        });
        let adoption = plan.adoption.as_ref().map(|adoption| Adoption {
            plan_hash: adoption.hash.clone(),
            changes: adoption.changes.iter().map(Field::of).collect(),
        });
        let consequences = consequences(plan, desired, applied);
        Self {
            in_sync: plan.in_sync() && consequences.is_empty(),
            frozen: plan.frozen,
            steps: steps(&plan.steps, true),
            observed: steps(&plan.observed, false),
            problems: problems.collect(),
            adoption,
            consequences,
            allowed: report.to_string(),
        }
    }
}

impl StepView {
    fn of(plan: &Plan, step: &Step, desired: &Desired, executed: bool) -> Self {
        Self {
            action: (&step.action).into(),
            sign: sign(&step.action),
            summary: summary(step, desired),
            because: executed.then(|| because(plan, step)),
            drift: step.drift,
            condition: step.part.to_string(),
            after: step.after.clone(),
            fields: fields(step).map(Field::of).collect(),
        }
    }
}

impl Field {
    fn of(diff: &crate::settings::FieldDiff) -> Self {
        Self { path: diff.path.clone(), observed: diff.live.clone(), desired: diff.desired.clone() }
    }

    fn shown(&self) -> String {
        let diff = crate::settings::FieldDiff::new(&self.path, self.observed.clone(), self.desired.clone());
        let [observed, desired] = diff.shown(VALUE_LENGTH);
        format!("{}: {observed} -> {desired}", self.path)
    }
}

impl Overview {
    /// Adds an object, and counts it.
    pub fn add(&mut self, object: Object) {
        let summary = &mut self.summary;
        match &object.plan {
            None => summary.failed += 1,
            Some(plan) if plan.in_sync => summary.in_sync += 1,
            Some(plan) if !plan.problems.is_empty() => summary.blocked += 1,
            Some(_) => summary.to_change += 1,
        }
        summary.steps += object.plan.as_ref().map_or(0, |plan| plan.steps.len());
        self.objects.push(object);
    }

    /// The plans as GitHub and GitLab show them in a pull request: the summary, what is taken away, and each plan to unfold.
    pub fn markdown(&self) -> String {
        let mut text = format!("**Plan:** {}\n", self.summary.line());
        let taken: Vec<_> = self.objects.iter().flat_map(Object::taken).collect();
        if !taken.is_empty() {
            text.push_str("\n> [!WARNING]\n");
            text.extend(taken.iter().map(|line| format!("> {line}  \n")));
        }
        for object in &self.objects {
            text.push_str(&object.markdown());
        }
        text
    }
}

impl Summary {
    /// The summary in one line.
    pub fn line(&self) -> String {
        let counts =
            [(self.to_change, "to change"), (self.blocked, "blocked"), (self.in_sync, "in sync"), (self.failed, "failed")];
        let counts: Vec<_> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        format!("{}; {}", counts.join(", "), plural(self.steps, "step"))
    }
}

impl Object {
    fn taken(&self) -> Vec<String> {
        let consequences = self.plan.iter().flat_map(|plan| plan.consequences.lines());
        consequences.map(|(kind, what)| format!("{}: **{kind}** {}", escaped(&self.name), escaped(what))).collect()
    }

    fn title(&self) -> String {
        match &self.plan {
            None => "no plan".to_owned(),
            Some(plan) if plan.in_sync => "in sync".to_owned(),
            Some(plan) => {
                let problems = (!plan.problems.is_empty()).then(|| plural(plan.problems.len(), "problem"));
                let steps = (!plan.steps.is_empty() || problems.is_none()).then(|| plural(plan.steps.len(), "step"));
                [steps, problems].into_iter().flatten().collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// The plan in a code block: nothing that a tenant wrote is Markdown or HTML in it.
    fn markdown(&self) -> String {
        let mut lines = Vec::new();
        for error in self.error.iter().flat_map(|error| error.lines()) {
            lines.push(format!("! {error}"));
        }
        lines.extend(self.notes.iter().map(|note| format!("# {note}")));
        for (prefix, step) in self
            .plan
            .iter()
            .flat_map(|plan| plan.steps.iter().map(|step| (step.sign, step)).chain(plan.observed.iter().map(|step| ('=', step))))
        {
            // The colors of a diff: its signs are + and - and !.
            let prefix = if prefix == '~' { '!' } else { prefix };
            lines.push(format!("{prefix} {}", step.summary));
            lines.extend(step.because.iter().map(|because| format!("    because {because}")));
            lines.extend(step.fields.iter().map(|field| format!("    {}", field.shown())));
        }
        if let Some(plan) = &self.plan {
            lines.extend(plan.problems.iter().map(|one| format!("! {} ({}): {}", one.condition, one.reason, one.message)));
            lines.extend(
                plan.adoption.iter().flat_map(|adoption| &adoption.changes).map(|field| format!("    {}", field.shown())),
            );
        }
        let body: String = lines.iter().map(|line| format!("{}\n", printable(line))).collect();
        let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or_default();
        let fence = "`".repeat(longest.max(2) + 1);
        let (name, title) = (escaped(&self.name), self.title());
        if body.is_empty() {
            return format!("\n**{name}**: {title}\n");
        }
        format!("\n<details><summary><b>{name}</b>: {title}</summary>\n\n{fence}diff\n{body}{fence}\n\n</details>\n")
    }
}

/// Text that is neither Markdown nor HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // Also `@`: a name must notify no one.
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' | '@' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_is_in_one_state() {
        let mut overview = Overview::default();
        let problem = || Problem { condition: "c".to_owned(), reason: "r".to_owned(), message: "m".to_owned() };
        for (in_sync, problems) in [(true, vec![]), (false, vec![]), (false, vec![problem()]), (false, vec![problem()])] {
            let (steps, observed, consequences) = (Vec::new(), Vec::new(), Consequences::default());
            let allowed = String::new();
            let plan = View { in_sync, frozen: false, steps, observed, problems, adoption: None, consequences, allowed };
            overview.add(Object { name: "lab/a".to_owned(), error: None, notes: Vec::new(), plan: Some(plan) });
        }
        overview.add(Object { name: "f.yaml".to_owned(), error: Some("e".to_owned()), notes: Vec::new(), plan: None });
        assert_eq!(overview.summary.line(), "1 to change, 2 blocked, 1 in sync, 1 failed; 0 steps");
    }

    #[test]
    fn nothing_of_a_tenant_is_markdown() {
        let mut overview = Overview::default();
        let error = "a\n```\n<script> @everyone".to_owned();
        overview.add(Object { name: "lab/**x** @me".to_owned(), error: Some(error), notes: Vec::new(), plan: None });
        let expected = "**Plan:** 1 failed; 0 steps\n\n<details><summary><b>lab/&#42;&#42;x&#42;&#42; &#64;me</b>: no plan</summary>\n\n````diff\n! a\n! ```\n! <script> @everyone\n````\n\n</details>\n";
        assert_eq!(overview.markdown(), expected);
    }
}
