//! What happens to a connection while the operator has faults. To add a scenario, add a value here.

use aws_sdk_iam::types::StatusType;
use bucketconnection::api::{BucketConnection, REVOKE_AT, ROTATE_AT};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::memory::MEMORY;
use super::rig::{ASKED, Rig};
use crate::support::lab::told;

/// A step of a scenario.
pub type Step = for<'a> fn(&'a mut Rig) -> BoxFuture<'a, ()>;

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
pub const CONNECTED: Step = |rig| Box::pin(async { rig.connected(json!({})).await });
const BESIDE_A_FOREIGN_KEY: Step = |rig| {
    Box::pin(async {
        rig.connected(json!({})).await;
        rig.foreign_key().await;
    })
};
const SECRET_LOST: Step = |rig| {
    Box::pin(async {
        rig.watch.excused();
        rig.lab.secrets().delete("c-s3", &Default::default()).await.unwrap();
        rig.ask().await;
    })
};
pub const READY: Step = |rig| {
    Box::pin(async {
        rig.lab.ready("c").await;
    })
};
const ANSWERED: Step = |rig| Box::pin(async { rig.answered().await });
const GONE: Step = |rig| Box::pin(async { rig.lab.gone("c").await });

static SCENARIOS: [Scenario; 14] = [
    Scenario {
        name: "create",
        setup: NOTHING,
        trigger: |rig| {
            Box::pin(async {
                rig.lab.apply(&rig.connection(json!({}))).await;
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
        trigger: |rig| {
            Box::pin(async {
                rig.watch.excused();
                let id = rig.lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
                let call = rig.lab.iam().update_access_key().user_name(rig.user()).access_key_id(id);
                call.status(StatusType::Inactive).send().await.unwrap();
                rig.ask().await;
            })
        },
        end: ANSWERED,
        ends: Ends::Ready,
    },
    Scenario {
        name: "key-deleted-beside-a-foreign-key",
        setup: BESIDE_A_FOREIGN_KEY,
        trigger: |rig| {
            Box::pin(async {
                rig.watch.excused();
                let id = rig.lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
                rig.lab.iam().delete_access_key().user_name(rig.user()).access_key_id(id).send().await.unwrap();
                rig.ask().await;
            })
        },
        end: ANSWERED,
        ends: Ends::Ready,
    },
    Scenario {
        name: "rotate",
        setup: |rig| Box::pin(async { rig.connected(json!({ "credentials": { "rotation": { "overlap": "1h" } } })).await }),
        trigger: |rig| Box::pin(async { rig.annotate(ROTATE_AT).await }),
        end: |rig| Box::pin(rotated(rig)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "rotate-versioned",
        setup: |rig| {
            let secret = json!({ "name": "c-s3", "versioned": true });
            let credentials = json!({ "secret": secret, "rotation": { "overlap": "1h" } });
            Box::pin(async move { rig.connected(json!({ "credentials": credentials, "access": { "groups": ["lab-a"] } })).await })
        },
        trigger: |rig| Box::pin(async { rig.annotate(ROTATE_AT).await }),
        end: |rig| Box::pin(rotated(rig)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "revoke",
        setup: CONNECTED,
        trigger: |rig| Box::pin(async { rig.annotate(REVOKE_AT).await }),
        end: |rig| Box::pin(revoked(rig)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "drift",
        setup: CONNECTED,
        trigger: |rig| {
            Box::pin(async {
                rig.lab.s3().delete_bucket_cors().bucket(rig.bucket()).send().await.unwrap();
                rig.lab.s3().delete_public_access_block().bucket(rig.bucket()).send().await.unwrap();
                rig.ask().await;
            })
        },
        end: ANSWERED,
        ends: Ends::Ready,
    },
    Scenario {
        name: "delete",
        setup: |rig| Box::pin(async { rig.connected(json!({ "deletionPolicy": "Delete" })).await }),
        trigger: |rig| {
            Box::pin(async {
                rig.watch.excused();
                rig.lab.delete("c").await;
            })
        },
        end: GONE,
        ends: Ends::Gone,
    },
    Scenario {
        name: "adopt",
        setup: |rig| Box::pin(awaiting_approval(rig)),
        trigger: |rig| {
            Box::pin(async {
                let hash = rig.lab.get("c").await.status.unwrap().adoption.unwrap().plan_hash;
                rig.lab.patch("c", json!({ "spec": { "approvedPlan": hash } })).await;
            })
        },
        end: |rig| Box::pin(approved_again(rig)),
        ends: Ends::Ready,
    },
    Scenario {
        name: "statements",
        setup: CONNECTED,
        trigger: |rig| {
            Box::pin(async {
                let statement = json!({
                    "sid": "Mine", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:GetObject"],
                });
                changed(rig, json!({ "bucket": { "policyStatements": [statement] }, "policy": { "scope": "Prefix" } })).await;
            })
        },
        end: READY,
        ends: Ends::Ready,
    },
    Scenario {
        name: "secret-renamed",
        setup: CONNECTED,
        trigger: |rig| Box::pin(async { changed(rig, json!({ "credentials": { "secret": { "name": "renamed" } } })).await }),
        end: READY,
        ends: Ends::Ready,
    },
    Scenario {
        name: "groups",
        setup: CONNECTED,
        trigger: |rig| Box::pin(async { changed(rig, json!({ "access": { "groups": ["lab-a", "lab-b"] } })).await }),
        end: READY,
        ends: Ends::Ready,
    },
];

/// Waits until the Secret has the new key, and the rotation has left nothing behind.
pub async fn rotated(rig: &Rig) {
    let done = |object: &BucketConnection| {
        let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default();
        credentials.last_handled_rotate_at.as_deref() == Some(ASKED) && credentials.pending.is_none()
    };
    rig.lab.until("c", "rotation", done).await;
    rig.lab.ready("c").await;
}

pub async fn revoked(rig: &Rig) {
    let done = |object: &BucketConnection| {
        let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default();
        credentials.last_handled_revoke_at.as_deref() == Some(ASKED)
    };
    rig.lab.until("c", "revocation", done).await;
    rig.lab.ready("c").await;
}

async fn changed(rig: &Rig, spec: Value) {
    rig.lab.apply(&rig.connection(spec)).await;
}

/// A bucket and a user, both created by hand, and a connection that may adopt them.
async fn awaiting_approval(rig: &mut Rig) {
    rig.lab.s3().create_bucket().bucket(rig.bucket()).send().await.unwrap();
    rig.lab.s3().delete_public_access_block().bucket(rig.bucket()).send().await.unwrap();
    rig.lab.iam().create_user().user_name(rig.user()).path("/bucketconnection/").send().await.unwrap();
    let spec = json!({ "bucket": { "adopt": true, "versioning": "Enabled" }, "user": { "adopt": true } });
    rig.lab.apply(&rig.connection(spec)).await;
    let object = rig.lab.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "Ready").1, "AwaitingApproval");
}

/// Waits until it is ready. An interrupted adoption asks for another approval of the rest.
async fn approved_again(rig: &Rig) {
    loop {
        let object = rig.lab.get("c").await;
        let (ready, reason, _) = told(&object, "Ready");
        if ready == "True" {
            return;
        }
        let approved = object.spec.approved_plan.clone();
        let asked = object.status.and_then(|status| status.adoption).map(|adoption| adoption.plan_hash);
        if reason == "AwaitingApproval" && asked.is_some() && asked != approved {
            rig.lab.patch("c", json!({ "spec": { "approvedPlan": asked } })).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}
