//! Failures of the API server, mapped to classes.

use kube::core::Status;
use kube::runtime::watcher;

use crate::vocabulary::problem::{Class, Problem, Source};

/// Maps one failure.
pub(super) fn problem(action: &str, error: &kube::Error) -> Problem {
    let failed = |class, code: &str, text: String| Problem::at(Source::Kubernetes, class, action, code, text);
    match error {
        kube::Error::Api(status) => {
            let (class, advice) = class(status);
            let code = if status.reason.is_empty() { format!("HTTP {}", status.code) } else { status.reason.clone() };
            failed(class, &code, format!("{}{advice}", status.message))
        }
        // The error's own text may quote the answer, which may be a Secret.
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => {
            failed(Class::Unavailable, "BadResponse", "the answer could not be understood".to_owned())
        }
        other => failed(Class::Unavailable, "Unreachable", root_cause(other)),
    }
}

/// Maps the failure of a watch, or of the list at its start.
pub fn of_watch(resource: &str, error: &watcher::Error) -> Problem {
    let (list, watch) = (format!("list {resource}"), format!("watch {resource}"));
    match error {
        watcher::Error::InitialListFailed(error) => problem(&list, error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => problem(&watch, error),
        watcher::Error::WatchError(status) => problem(&watch, &kube::Error::Api(status.clone())),
        watcher::Error::NoResourceVersion => {
            Problem::at(Source::Kubernetes, Class::Unavailable, &list, "BadResponse", "the answer has no resourceVersion")
        }
    }
}

/// The class of an answer, and the advice if it does not follow from the class alone.
///
/// Not only RBAC answers "forbidden": quotas, admission policies, webhooks and a namespace that is being deleted use
/// the same code.
fn class(status: &Status) -> (Class, &'static str) {
    const POLICY: &str =
        "; an admission policy or webhook of the cluster refuses this, not RBAC: change the policy, or exempt the operator";
    let says = |words: &[&str]| words.iter().any(|word| status.message.contains(word));
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    match status.code {
        401 => (Class::Denied, ""),
        // The text of a webhook comes after this, and may be anything.
        400..500 if says(&["admission webhook", "ValidatingAdmissionPolicy"]) => (Class::Refused, POLICY),
        403 if causes.any(|cause| cause.reason == "NamespaceTerminating") => {
            (Class::Conflict, "; nothing can be created in a namespace that is being deleted")
        }
        403 if says(&["status unknown for quota:"]) => (Class::Conflict, ""),
        403 if says(&["exceeded quota:", "failed quota:"]) => (Class::Quota, ""),
        403 if says(&["\" cannot ", "attempting to grant RBAC permissions"]) => (Class::Denied, ""),
        403 => (Class::Refused, POLICY),
        404 => (Class::Missing, ""),
        409 if status.reason == "AlreadyExists" => (Class::Exists, ""),
        409 => (Class::Conflict, ""),
        429 => (Class::Throttled, ""),
        500.. => (Class::Unavailable, ""),
        // The answer to an operator that is newer than the installed CRDs.
        _ if says(&["field not declared in schema"]) => {
            (Class::Refused, "; install the CRDs of this version (bucketconnection crds)")
        }
        _ => (Class::Refused, ""),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::vocabulary::conditions::Reason;

    fn told(code: u16, message: &str, more: &Value) -> Problem {
        let mut status = json!({ "code": code, "reason": "Forbidden", "message": message });
        for (field, value) in more.as_object().unwrap() {
            status[field] = value.clone();
        }
        let status: Status = serde_json::from_value(status).unwrap();
        problem("patch secrets", &kube::Error::Api(status.boxed()))
    }

    /// Answers of an API server, and what the operator reports.
    #[test]
    fn only_rbac_is_told_as_rbac() {
        let none = json!({});
        let terminating =
            json!({ "details": { "causes": [{ "reason": "NamespaceTerminating", "field": "metadata.namespace" }] } });
        let table = [
            (
                r#"secrets "genomics-s3" is forbidden: User "system:serviceaccount:bucketconnection:bucketconnection" cannot patch resource "secrets" in API group "" in the namespace "lab""#,
                &none,
                Reason::AccessDenied,
                "; grant the operator this permission (deploy/kubernetes/base/rbac.yaml)",
            ),
            (
                r#"roles.rbac.authorization.k8s.io "readers" is forbidden: user "operator" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held"#,
                &none,
                Reason::AccessDenied,
                "; grant the operator this permission (deploy/kubernetes/base/rbac.yaml)",
            ),
            (
                r#"secrets "genomics-s3" is forbidden: exceeded quota: few, requested: secrets=1, used: secrets=3, limited: secrets=3"#,
                &none,
                Reason::QuotaExceeded,
                "; raise the ResourceQuota of the namespace or free some of it",
            ),
            (
                r#"admission webhook "policy.example.com" denied the request: User "x" cannot do this"#,
                &none,
                Reason::KubernetesError,
                "change the policy, or exempt the operator",
            ),
            (
                r#"secrets "genomics-s3" is forbidden: ValidatingAdmissionPolicy 'no-keys' with binding 'all' denied request: no"#,
                &none,
                Reason::KubernetesError,
                "change the policy, or exempt the operator",
            ),
            (
                r#"secrets "genomics-s3" is forbidden: unable to create new content in namespace lab because it is being terminated"#,
                &terminating,
                Reason::Conflict,
                "; nothing can be created in a namespace that is being deleted",
            ),
        ];
        for (message, more, reason, advice) in table {
            let problem = told(403, message, more);
            assert_eq!(problem.reason(), reason, "{message}");
            assert!(problem.to_string().ends_with(advice), "{problem}");
        }
    }

    #[test]
    fn an_api_server_that_fails_is_not_aws() {
        let reason = |code| told(code, "etcdserver: request timed out", &json!({ "reason": "" })).reason();
        assert_eq!([500, 503, 504].map(reason), [Reason::KubernetesUnavailable; 3]);
        let expired = told(401, "Unauthorized", &json!({ "reason": "Unauthorized" }));
        assert!(expired.to_string().contains("service account token"), "{expired}");
    }
}
