//! What happens to a connection while the operator has faults. To add a scenario, add a value here.

use aws_sdk_iam::types::StatusType;
use bucketconnection::api::{BucketConnection, REVOKE_AT, ROTATE_AT};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::harness::{ASKED, FaultHarness};
use super::memory::MEMORY;
use crate::support::harness::told;

/// A step of a scenario.
pub type Step = for<'a> fn(&'a mut FaultHarness) -> BoxFuture<'a, ()>;

pub struct Scenario {
    pub name: &'static str,
    /// Prepares the beginning; without faults.
    pub setup: Step,
    /// What someone does then. From here on the operator has faults.
    pub trigger: Step,
    /// Waits until the operator has done its work.
    pub end: Step,
    pub ends: Ends,
}

/// The state of the connection in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    Ready,
    /// Not ready, because of what others did.
    Refused,
    /// Deleted; the bucket and the key may be deleted too.
    Gone,
}

/// All scenarios.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().chain(&MEMORY)
}

const NOTHING: Step = |_| Box::pin(async {});
pub const CONNECTED: Step = |harness| Box::pin(async { harness.connected(json!({})).await });
const BESIDE_A_FOREIGN_KEY: Step = |harness| {
    Box::pin(async {
        harness.connected(json!({})).await;
        harness.foreign_key().await;
    })
};
const SECRET_LOST: Step = |harness| {
    Box::pin(async {
        harness.watch.excused();
        harness.base.secrets().delete("c-s3", &Default::default()).await.unwrap();
        harness.ask().await;
    })
};
pub const READY: Step = |harness| {
    Box::pin(async {
        harness.base.ready("c").await;
    })
};
const ANSWERED: Step = |harness| Box::pin(async { harness.answered().await });
const GONE: Step = |harness| Box::pin(async { harness.base.gone("c").await });

static SCENARIOS: [Scenario; 14] = [
    Scenario {
        name: "create",
        setup: NOTHING,
        trigger: |harness| {
            Box::pin(async {
                harness.base.apply(&harness.connection(json!({}))).await;
            })
        },
        end: READY,
        ends: Ends::Ready,
    },
    Scenario { name: "secret-lost", setup: CONNECTED, trigger: SECRET_LOST, end: ANSWERED, ends: Ends::Ready },
    Scenario {
        name: "secret-lost-beside-a-foreign-key",
        setup: BESIDE_A_FOREIGN_KEY,
        trigger: SECRET_LOST,
        end: ANSWERED,
        ends: Ends::Ready,
    },
    Scenario {
        name: "key-inactive",
        setup: CONNECTED,
        trigger: |harness| {
            Box::pin(async {
                harness.watch.excused();
                let id = harness.base.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
                let call = harness.base.iam().update_access_key().user_name(harness.user()).access_key_id(id);
                call.status(StatusType::Inactive).send().await.unwrap();
                harness.ask().await;
            })
        },
        end: ANSWERED,
        ends: Ends::Ready,
    },
    Scenario {
        name: "key-deleted-beside-a-foreign-key",
        setup: BESIDE_A_FOREIGN_KEY,
        trigger: |harness| {
            Box::pin(async {
                harness.watch.excused();
                let id = harness.base.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
                harness.base.iam().delete_access_key().user_name(harness.user()).access_key_id(id).send().await.unwrap();
                harness.ask().await;
            })
        },
        end: ANSWERED,
        ends: Ends::Ready,
    },
    Scenario {
        name: "rotate",
        setup: |harness| {
            Box::pin(async { harness.connected(json!({ "credentials": { "rotation": { "overlap": "1h" } } })).await })
        },
        trigger: |harness| Box::pin(async { harness.annotate(ROTATE_AT).await }),
        end: |harness| Box::pin(rotated(harness)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "rotate-versioned",
        setup: |harness| {
            let secret = json!({ "name": "c-s3", "versioned": true });
            let credentials = json!({ "secret": secret, "rotation": { "overlap": "1h" } });
            Box::pin(
                async move { harness.connected(json!({ "credentials": credentials, "access": { "groups": ["lab-a"] } })).await },
            )
        },
        trigger: |harness| Box::pin(async { harness.annotate(ROTATE_AT).await }),
        end: |harness| Box::pin(rotated(harness)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "revoke",
        setup: CONNECTED,
        trigger: |harness| Box::pin(async { harness.annotate(REVOKE_AT).await }),
        end: |harness| Box::pin(revoked(harness)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "drift",
        setup: CONNECTED,
        trigger: |harness| {
            Box::pin(async {
                harness.base.s3().delete_bucket_cors().bucket(harness.bucket()).send().await.unwrap();
                harness.base.s3().delete_public_access_block().bucket(harness.bucket()).send().await.unwrap();
                harness.ask().await;
            })
        },
        end: ANSWERED,
        ends: Ends::Ready,
    },
    Scenario {
        name: "delete",
        setup: |harness| Box::pin(async { harness.connected(json!({ "deletionPolicy": "Delete" })).await }),
        trigger: |harness| {
            Box::pin(async {
                harness.watch.excused();
                harness.base.delete("c").await;
            })
        },
        end: GONE,
        ends: Ends::Gone,
    },
    Scenario {
        name: "adopt",
        setup: |harness| Box::pin(awaiting_approval(harness)),
        trigger: |harness| {
            Box::pin(async {
                let hash = harness.base.get("c").await.status.unwrap().adoption.unwrap().plan_hash;
                harness.base.patch("c", json!({ "spec": { "approvedPlan": hash } })).await;
            })
        },
        end: |harness| Box::pin(approved_again(harness)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "statements",
        setup: CONNECTED,
        trigger: |harness| {
            Box::pin(async {
                let statement = json!({
                    "sid": "Mine", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:GetObject"],
                });
                changed(harness, json!({ "bucket": { "policyStatements": [statement] }, "policy": { "scope": "Prefix" } })).await;
            })
        },
        end: READY,
        ends: Ends::Ready,
    },
    Scenario {
        name: "secret-renamed",
        setup: CONNECTED,
        trigger: |harness| {
            Box::pin(async { changed(harness, json!({ "credentials": { "secret": { "name": "renamed" } } })).await })
        },
        end: READY,
        ends: Ends::Ready,
    },
    Scenario {
        name: "groups",
        setup: CONNECTED,
        trigger: |harness| Box::pin(async { changed(harness, json!({ "access": { "groups": ["lab-a", "lab-b"] } })).await }),
        end: READY,
        ends: Ends::Ready,
    },
];

/// Waits until the Secret has the new key, and the rotation has left nothing behind.
pub async fn rotated(harness: &FaultHarness) {
    let done = |object: &BucketConnection| {
        let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default();
        credentials.last_handled_rotate_at.as_deref() == Some(ASKED) && credentials.pending.is_none()
    };
    harness.base.until("c", "rotation", done).await;
    harness.base.ready("c").await;
}

pub async fn revoked(harness: &FaultHarness) {
    let done = |object: &BucketConnection| {
        let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default();
        credentials.last_handled_revoke_at.as_deref() == Some(ASKED)
    };
    harness.base.until("c", "revocation", done).await;
    harness.base.ready("c").await;
}

async fn changed(harness: &FaultHarness, spec: Value) {
    harness.base.apply(&harness.connection(spec)).await;
}

/// A bucket and a user, both created by hand, and a connection that may adopt them.
async fn awaiting_approval(harness: &mut FaultHarness) {
    harness.base.s3().create_bucket().bucket(harness.bucket()).send().await.unwrap();
    harness.base.s3().delete_public_access_block().bucket(harness.bucket()).send().await.unwrap();
    harness.base.iam().create_user().user_name(harness.user()).path("/bucketconnection/").send().await.unwrap();
    let spec = json!({ "bucket": { "adopt": true, "versioning": "Enabled" }, "user": { "adopt": true } });
    harness.base.apply(&harness.connection(spec)).await;
    let object = harness.base.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "Ready").1, "AwaitingApproval");
}

/// Waits until it is ready. An interrupted adoption asks for another approval of the rest.
async fn approved_again(harness: &FaultHarness) {
    loop {
        let object = harness.base.get("c").await;
        let (ready, reason, _) = told(&object, "Ready");
        if ready == "True" {
            return;
        }
        let approved = object.spec.approved_plan.clone();
        let asked = object.status.and_then(|status| status.adoption).map(|adoption| adoption.plan_hash);
        if reason == "AwaitingApproval" && asked.is_some() && asked != approved {
            harness.base.patch("c", json!({ "spec": { "approvedPlan": asked } })).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}
