//! A failed call as a plain value. Its class decides what the operator does; its text is for people.
//!
//! [`crate::sdk`] and [`crate::kubernetes`] create these values. Texts are stable: no request id, no time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::vocabulary::conditions::Reason;

/// What can deny something that a policy allows.
pub(crate) const DENIERS: &str = "; look for a denying bucket policy, SCP, RCP or permissions boundary";
/// What can allow something that a policy does not allow.
pub(crate) const GRANTERS: &str = "; look for another policy of the user, a group that it is in, the bucket policy, or ACLs";

/// How AWS's messages name the kinds of policies that deny what the caller's own policy may allow
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>).
const BEYOND_THE_CALLER: [&str; 6] = [
    "permissions boundary",
    "service control policy",
    "resource control policy",
    "session policy",
    "VPC endpoint policy",
    "resource-based policy",
];

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What refused the call, or did not answer.
    #[serde(default)]
    pub source: Source,
    /// What kind of failure it is.
    pub class: Class,
    /// The action as IAM and RBAC spell it: `s3:PutBucketCORS`, `patch secrets`. The permission that the call needs.
    pub action: String,
    /// The error code of the answer, or a word for the failure if there was no answer.
    #[serde(default)]
    pub code: String,
    /// The text of the answer.
    #[serde(default)]
    pub message: String,
}

/// Where a call failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// In AWS.
    #[default]
    Aws,
    /// In the API server of the cluster.
    Kubernetes,
    /// At the URL in `spec.verification`.
    Endpoint,
    /// In this process, which did not send the call.
    Operator,
}

/// Kinds of failure. [`crate::sdk`] maps AWS's codes to them, [`crate::kubernetes`] those of the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
pub enum Class {
    /// The resource does not exist.
    Missing,
    /// The resource exists already, in the same account.
    Exists,
    /// The bucket name belongs to another account.
    NameTaken,
    /// The bucket is in another region, named here if the answer names it.
    Elsewhere(Option<String>),
    /// The caller lacks a permission.
    Denied,
    /// The key is unknown, inactive or expired, or its signature is wrong.
    BadKey,
    /// The key belongs to another IAM user, whose ARN is the message.
    OtherUser,
    /// Not empty, or still in use.
    InUse,
    /// Another change is in progress.
    Conflict,
    /// A quota is exhausted.
    Quota,
    /// The caller must slow down.
    Throttled,
    /// Not reachable, timed out, or failed on its side.
    Unavailable,
    /// Allowed, although it should have been denied.
    Allowed,
    /// Refused as invalid, or with an unknown code.
    Refused,
}

/// The facts about a connection that the advice on a problem depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Region of the bucket.
    pub region: String,
    /// IAM path of the user, if it is not the default of the operator's policy.
    pub user_path: Option<String>,
}

impl Problem {
    /// A problem of `class` in `action`, a call to AWS.
    pub fn new(class: Class, action: &str, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::at(Source::Aws, class, action, code, message)
    }

    /// A problem of `class` in `action`, which failed at `source`.
    pub fn at(source: Source, class: Class, action: &str, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { source, class, action: action.to_owned(), code: code.into(), message: message.into() }
    }

    /// The condition reason of this problem.
    pub fn reason(&self) -> Reason {
        match (&self.class, self.source) {
            (Class::Denied, _) => Reason::AccessDenied,
            (Class::BadKey, _) => Reason::SignInFailed,
            (Class::Allowed, _) => Reason::NotIsolated,
            (Class::NameTaken, _) => Reason::BucketNotOwned,
            (Class::Elsewhere(_), _) => Reason::RegionMismatch,
            (Class::Conflict | Class::Exists | Class::Missing | Class::OtherUser, _) => Reason::Conflict,
            (Class::Quota, _) => Reason::QuotaExceeded,
            (Class::Throttled, _) => Reason::Throttled,
            (Class::Unavailable, Source::Kubernetes) => Reason::KubernetesUnavailable,
            (Class::Unavailable, Source::Operator) => Reason::LeaseNotHeld,
            (Class::Unavailable, Source::Aws | Source::Endpoint) => Reason::AWSUnavailable,
            (Class::InUse | Class::Refused, Source::Kubernetes) => Reason::KubernetesError,
            (Class::InUse | Class::Refused, Source::Operator) => Reason::InvalidSpec,
            (Class::InUse | Class::Refused, _) => Reason::RequestRefused,
        }
    }

    /// Whether a person must fix it; otherwise it is transient.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.class,
            Class::Denied
                | Class::Allowed
                | Class::BadKey
                | Class::NameTaken
                | Class::Elsewhere(_)
                | Class::Quota
                | Class::Refused
                | Class::InUse
        )
    }

    /// What a person can do about it; empty if it is transient.
    pub fn advice(&self) -> String {
        match (&self.class, self.source) {
            (Class::Denied, Source::Aws) if self.action == "sts:AssumeRole" => {
                "; check the role's ARN, the principals in its trust policy, and externalId".to_owned()
            }
            (Class::Denied, Source::Aws) => allow(&self.action, None, self.denier()),
            (Class::Denied, _) if self.code == "Unauthorized" => {
                "; check the operator's own credentials for the API server (service account token or kubeconfig)".to_owned()
            }
            (Class::Denied, _) => "; grant the operator this permission (deploy/kubernetes/base/rbac.yaml)".to_owned(),
            (Class::BadKey, Source::Aws) => match self.code.as_str() {
                "NoCredentials" => {
                    "; give the operator a role (IRSA, Pod Identity), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                        .to_owned()
                }
                "RequestTimeTooSkewed" => "; set the clock of the machine that the operator runs on".to_owned(),
                "SignatureDoesNotMatch" => {
                    "; check the operator's own secret access key, and any proxy that changes requests on their way".to_owned()
                }
                "RegionDisabledException" => {
                    "; activate STS in that region (IAM console, account settings), or set another spec.region in the AWSAccount"
                        .to_owned()
                }
                _ => "; check the operator's own AWS credentials".to_owned(),
            },
            (Class::Quota, Source::Aws) => "; raise the quota in AWS or free some of it".to_owned(),
            (Class::Quota, _) => "; raise the ResourceQuota of the namespace or free some of it".to_owned(),
            _ => String::new(),
        }
    }

    /// The reason for a connection that works with `place`, and the text with advice.
    pub fn describe(&self, place: &Place) -> (Reason, String) {
        let of_aws = self.source == Source::Aws;
        let advice = match &self.class {
            Class::Denied if of_aws && self.action.starts_with("iam:") => {
                allow(&self.action, place.user_path.as_deref(), self.denier())
            }
            // The account's own sign-in has worked, otherwise S3 would not have been called.
            Class::BadKey
                if of_aws && self.action.starts_with("s3:") && place.may_be_off() && self.code != "SignatureDoesNotMatch" =>
            {
                let advice = format!(
                    "; AWS accepts the operator's credentials elsewhere: check that region {} is the right one, and enabled for the account (AWS console, Account, AWS Regions)",
                    place.region
                );
                return (Reason::RegionUnavailable, format!("{}{advice}", self.brief()));
            }
            _ => self.advice(),
        };
        (self.reason(), format!("{}{advice}", self.brief()))
    }

    /// The kind of policy that AWS names as the cause of a denial, if it is not the caller's own policy.
    pub(crate) fn denier(&self) -> Option<&'static str> {
        let named = |kind: &str| {
            self.message.contains(&format!("no {kind} allows")) || self.message.contains(&format!("explicit deny in a {kind}"))
        };
        BEYOND_THE_CALLER.into_iter().find(|kind| self.class == Class::Denied && named(kind))
    }

    /// The call and its answer, without advice.
    pub fn brief(&self) -> String {
        let text = self.message.trim_end_matches('.');
        if text.is_empty() || text == self.code {
            format!("{}: {}", self.action, self.code)
        } else {
            format!("{}: {}: {text}", self.action, self.code)
        }
    }
}

/// How to allow the operator `actions` in AWS. `denier` is the kind of policy that AWS names as the cause.
pub(crate) fn allow(actions: &str, user_path: Option<&str>, denier: Option<&str>) -> String {
    let option = user_path.map(|path| format!(" --user-path {path}")).unwrap_or_default();
    let place = denier.map_or_else(
        || "and look for a denying SCP, RCP or bucket policy".to_owned(),
        |denier| format!("first in the {denier}, which AWS names as the cause"),
    );
    format!("; allow the operator {actions} (bucketconnection iam-policy{option} prints the policy that it needs), {place}")
}

/// The permissions that a message says the operator lacks: actions in AWS, and verbs with resources in Kubernetes. Reads
/// what `Problem::describe` and `status/denials.rs` write.
pub(crate) fn denied(message: &str) -> (Vec<String>, Vec<String>) {
    let after = |begin: &str, end: &str| -> Vec<String> {
        let texts = message.split(begin).skip(1).filter_map(|rest| rest.split_once(end));
        texts.flat_map(|(list, _)| list.split(", ")).map(str::to_owned).collect()
    };
    let mut aws = after("AWS denied: ", ";");
    // The policy that AWS names as the cause follows the actions.
    let advised =
        after("; allow the operator ", " (").into_iter().filter_map(|text| text.split(" in the ").next().map(str::to_owned));
    aws.extend(advised.filter(|action| action.contains(':') && !action.contains(' ')));
    let mut kubernetes = after("Kubernetes denied: ", ";");
    if let Some((told, _)) = message.split_once("; grant the operator this permission") {
        const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "bind"];
        let verb = |part: &&str| {
            part.split_once(' ').is_some_and(|(verb, resource)| VERBS.contains(&verb) && !resource.contains(char::is_uppercase))
        };
        kubernetes.extend(told.rsplit(": ").find(verb).map(str::to_owned));
    }
    (aws, kubernetes)
}

/// Regions of the partition aws that are enabled for every account
/// (<https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html>).
const ALWAYS_ON: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

impl Place {
    /// Whether the region may be disabled in the account.
    fn may_be_off(&self) -> bool {
        let other_partition = ["cn-", "us-gov-", "us-iso", "eu-iso", "eusc-"].iter().any(|begin| self.region.starts_with(begin));
        !self.region.is_empty() && !other_partition && !ALWAYS_ON.contains(&self.region.as_str())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.brief(), self.advice())
    }
}

impl std::error::Error for Problem {}

/// Treats a resource that does not exist as deleted.
pub fn ignore_not_found<T>(answer: Result<T, Problem>) -> Result<(), Problem> {
    match answer {
        Err(problem) if problem.class != Class::Missing => Err(problem),
        _ => Ok(()),
    }
}

/// The first names, and the number of the others, for a message.
pub fn join_names<T: AsRef<str>>(names: &[T]) -> String {
    const NAMED: usize = 5;
    let named = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED { format!("{named} and {} more", names.len() - NAMED) } else { named }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name and the advice depend on where the call failed, not on the spelling of the action.
    #[test]
    fn a_problem_names_where_it_happened() {
        let reason = |source, class| Problem::at(source, class, "get secrets", "Code", "").reason();
        let table = [
            (Source::Aws, Class::Unavailable, Reason::AWSUnavailable),
            (Source::Kubernetes, Class::Unavailable, Reason::KubernetesUnavailable),
            (Source::Operator, Class::Unavailable, Reason::LeaseNotHeld),
            (Source::Aws, Class::Refused, Reason::RequestRefused),
            (Source::Kubernetes, Class::Refused, Reason::KubernetesError),
            (Source::Operator, Class::Refused, Reason::InvalidSpec),
            (Source::Kubernetes, Class::Quota, Reason::QuotaExceeded),
        ];
        for (source, class, expected) in table {
            assert_eq!(reason(source, class.clone()), expected, "{source:?} {class:?}");
        }
    }

    /// Otherwise a person would add to the operator's policy what is in it already.
    #[test]
    fn advice_names_the_policy_that_aws_names() {
        let told = |why: &str| {
            let message = format!("User: arn:aws:iam::123456789012:user/o is not authorized to perform: s3:CreateBucket {why}");
            Problem::new(Class::Denied, "s3:CreateBucket", "AccessDenied", message).describe(&Place::default()).1
        };
        for (why, denier) in [
            ("because no permissions boundary allows the s3:CreateBucket action", "permissions boundary"),
            ("with an explicit deny in a permissions boundary", "permissions boundary"),
            ("because no service control policy allows the s3:CreateBucket action", "service control policy"),
            ("with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o/p", "service control policy"),
            ("with an explicit deny in a resource control policy", "resource control policy"),
            ("because no session policy allows the s3:CreateBucket action", "session policy"),
            ("because no VPC endpoint policy allows the s3:CreateBucket action", "VPC endpoint policy"),
            ("with an explicit deny in a resource-based policy", "resource-based policy"),
        ] {
            let text = told(why);
            let advice = format!("the policy that it needs), first in the {denier}, which AWS names as the cause");
            assert!(text.contains(&advice), "{text}");
            assert_eq!(denied(&text).0, ["s3:CreateBucket"], "{text}");
        }
        let own = told("because no identity-based policy allows the s3:CreateBucket action");
        assert!(own.contains("; allow the operator s3:CreateBucket (bucketconnection iam-policy prints"), "{own}");
    }

    #[test]
    fn denied_permissions_are_read_from_messages() {
        let told = |source, action: &str, text: &str| {
            let problem = Problem::at(source, Class::Denied, action, "AccessDenied", text);
            denied(&format!("BucketReady: write cors of bucket b: {}", problem.describe(&Place::default()).1))
        };
        let none = Vec::<String>::new;
        assert_eq!(told(Source::Aws, "s3:PutBucketCORS", "no"), (vec!["s3:PutBucketCORS".to_owned()], none()));
        assert_eq!(told(Source::Aws, "iam:GetUser", ""), (vec!["iam:GetUser".to_owned()], none()));
        let policy = "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o/p";
        assert_eq!(told(Source::Aws, "s3:CreateBucket", policy), (vec!["s3:CreateBucket".to_owned()], none()));
        let several = format!("AWS denied: a:B, c:D{}", allow("these actions", None, Some("session policy")));
        assert_eq!(denied(&several), (vec!["a:B".to_owned(), "c:D".to_owned()], none()));
        let text = "secrets \"c-s3\" is forbidden: User \"operator\" cannot patch resource \"secrets\" in API group \"\"";
        assert_eq!(told(Source::Kubernetes, "patch secrets", text), (none(), vec!["patch secrets".to_owned()]));
        let both = format!(
            "AWS denied: a:B, c:D{}; Kubernetes denied: get secrets; grant the operator these permissions",
            allow("these actions", None, None)
        );
        assert_eq!(denied(&both), (vec!["a:B".to_owned(), "c:D".to_owned()], vec!["get secrets".to_owned()]));
        assert_eq!(told(Source::Aws, "sts:AssumeRole", "no"), (none(), none()));
        assert_eq!(denied("everything is as specified"), (none(), none()));
    }

    #[test]
    fn advice_depends_on_region_and_path() {
        let place = |region: &str, path: Option<&str>| Place { region: region.into(), user_path: path.map(str::to_owned) };
        let told = |class, action: &str, code: &str, place: &Place| Problem::new(class, action, code, "").describe(place);
        let (reason, text) = told(Class::BadKey, "s3:GetBucketTagging", "InvalidAccessKeyId", &place("me-central-1", None));
        assert_eq!(reason, Reason::RegionUnavailable);
        assert!(text.contains("check that region me-central-1 is the right one, and enabled for the account"), "{text}");
        // Such a region cannot be disabled, and a wrong signature does not depend on the region.
        for (region, code) in
            [("us-east-1", "InvalidAccessKeyId"), ("cn-north-1", "InvalidToken"), ("me-central-1", "SignatureDoesNotMatch")]
        {
            let (reason, text) = told(Class::BadKey, "s3:GetBucketTagging", code, &place(region, None));
            assert_eq!(reason, Reason::SignInFailed, "{region} {code}");
            assert!(text.contains("check the operator's own"), "{text}");
        }
        let (_, text) = told(Class::Denied, "iam:GetUser", "AccessDenied", &place("us-east-1", Some("/icav2/")));
        assert!(text.contains("(bucketconnection iam-policy --user-path /icav2/ prints the policy that it needs)"), "{text}");
        let (_, text) = told(Class::Denied, "s3:CreateBucket", "AccessDenied", &place("us-east-1", Some("/icav2/")));
        assert!(text.contains("(bucketconnection iam-policy prints"), "{text}");
    }
}
