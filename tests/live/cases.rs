//! The contract suite of `tests/faults/contract/`, on the account of the run: one case after the other, each with names
//! of its own, which are deleted after it.

use super::Context;
use super::report::Outcome;
use crate::contract::{self, DIFFERENCES, EMULATOR, Harness, PARTS};

const PART: &str = "contract";

/// Cases that a run leaves out, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("names_are_global", ANOTHER_ACCOUNT),
    ("a_bucket_of_another_account_is_denied", ANOTHER_ACCOUNT),
    ("names_are_checked", FOREIGN_NAMES),
    ("other_buckets_are_denied", FOREIGN_NAMES),
    ("user_names_are_checked", FOREIGN_NAMES),
    ("user_names_ignore_case", FOREIGN_NAMES),
    ("a_missing_policy_is_no_such_entity", FOREIGN_NAMES),
    ("every_setting_comes_back", "the part life sets, changes and reverts every setting"),
    ("creating_again_in_us_east_1_succeeds_without_tags", UNTAGGED),
    ("tags_are_accepted_on_creation", UNTAGGED),
    ("unset_settings_have_codes", UNTAGGED),
    ("a_user_has_path_and_tags", UNTAGGED),
    ("any_text_may_stand_in_a_tag", UNTAGGED),
    ("user_tags_are_set_and_removed", UNTAGGED),
    ("policy_tags_are_set_and_removed", UNTAGGED),
    ("a_public_bucket_policy_is_refused", "would make a bucket public for a moment"),
    ("a_user_in_a_group_is_not_deleted", "the run has no permissions for groups"),
    ("a_boundary_is_shown", BOUNDARY),
    ("a_boundary_is_the_limit", BOUNDARY),
    ("an_administrators_identity_is_reported", "the caller is not that user"),
    ("the_last_use_is_reported", "AWS updates the last use of a key with a delay of unknown length"),
    ("users_are_listed_by_path", "the permissions of the run end at its names"),
    ("an_unknown_key_is_refused", "the caller of ListUsers is a key that no account has"),
];
const ANOTHER_ACCOUNT: &str = "needs a second account";
const FOREIGN_NAMES: &str = "needs names that do not begin with the id of the run";
const UNTAGGED: &str = "needs resources without the tag of the run, which are not deleted after a crash";
const BOUNDARY: &str = "every user of a run has the run's own boundary; the part life tests it";

/// Cases that need a region other than us-east-1.
const ELSEWHERE: &[&str] = &["a_location_must_fit_the_endpoint", "a_bucket_elsewhere_is_redirected"];

pub async fn run(context: &Context) {
    let (aws, report) = (&context.aws, &context.report);
    // Twice the longest time that this run measured: then AWS applies what was changed in IAM.
    let settle = std::time::Duration::from_secs_f64(2.0 * report.longest()).max(context.settle);
    report.say(&format!("running the contract suite; after each change in IAM it waits {:.1} s", settle.as_secs_f64()));
    aws.gate.settle(settle);
    let credentials = aws.config().credentials_provider().expect("the caller has credentials");
    let harness = Harness {
        url: aws.config().endpoint_url().map(str::to_owned),
        account: aws.account.clone(),
        region: aws.region.clone(),
        http: aws.config().http_client().expect("the clients have one"),
        admin: credentials.clone(),
        stranger: credentials,
        interceptor: aws.marks().map(|marks| marks.shared()),
        prefix: "",
        name: String::new(),
    };
    for (number, case) in PARTS.into_iter().flatten().enumerate() {
        let left_out = LEFT_OUT.iter().find(|(name, _)| *name == case.name).map(|(_, why)| *why);
        let left_out =
            left_out.or((aws.region == "us-east-1" && ELSEWHERE.contains(&case.name)).then_some("needs another region"));
        if let Some(why) = left_out {
            report.not_run(PART, case.name, why);
            continue;
        }
        if number % context.every != 0 {
            report.not_run(PART, case.name, "left out by EVERY");
            continue;
        }
        // Short, for 63 characters in the name of a bucket and 64 in that of a user.
        let name = context.run.name(&format!("c{number}"));
        if !context.emulated {
            report.say(case.name);
        }
        let mut differences = contract::run(case, Harness { name: name.clone(), ..harness.clone() }).await;
        context.sweep(&name).await;
        if !differences.is_empty() && !context.emulated {
            report.learned(PART, &format!("{}: differences of a first attempt", case.name), &differences.join("; "));
            report.say("that differs; once more with other names, because new resources may not be known everywhere at once");
            let name = context.run.name(&format!("c{number}-again"));
            differences = contract::run(case, Harness { name: name.clone(), ..harness.clone() }).await;
            context.sweep(&name).await;
        }
        record(context, case.name, &differences);
    }
    aws.gate.settle(std::time::Duration::ZERO);
}

fn record(context: &Context, case: &str, differences: &[String]) {
    let known = DIFFERENCES.iter().find(|(name, server, _)| *name == case && *server == EMULATOR).filter(|_| context.emulated);
    match (differences, known) {
        ([], None) => drop(context.report.is(PART, case, "", "")),
        (_, Some((_, _, why))) => context.report.add(PART, case, Outcome::KnownDifference, "", why),
        (differences, None) => context.report.add(PART, case, Outcome::Differs, "no difference", &differences.join("; ")),
    }
}

/// The cases that the lists of this file name, for a test.
pub fn named() -> impl Iterator<Item = &'static str> {
    LEFT_OUT.iter().map(|(name, _)| *name).chain(ELSEWHERE.iter().copied())
}
