//! The readable part of an object that this version cannot read as a whole: enough to release it, and to revoke its
//! keys.
//!
//! A newer CRD may allow values that this version does not know, and an older one allowed values that no version knows.

use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use crate::api::{BucketConnection, BucketConnectionSpec};

/// An object of which only a part can be read.
#[derive(Clone, Debug)]
pub struct Partial {
    /// Its metadata, its status if that can be read, and the readable part of its spec: a field that cannot be read
    /// counts as omitted, and a required one gets an empty value. So the operator may release the object and revoke its
    /// keys, but never resolves it. The status counts only if it is sealed, as always.
    pub object: BucketConnection,
    /// Its spec, as it is stored.
    pub spec: Value,
}

impl Partial {
    /// Reads what can be read of `stored`.
    pub fn of(stored: DynamicObject) -> Result<Self, serde_json::Error> {
        let DynamicObject { metadata, mut data, .. } = stored;
        let spec = data["spec"].take();
        let status = serde_json::from_value(data["status"].take()).ok();
        Ok(Self { object: BucketConnection { metadata, spec: readable(&spec)?, status }, spec })
    }
}

/// The readable part of a spec.
fn readable(spec: &Value) -> Result<BucketConnectionSpec, serde_json::Error> {
    let read = |part: &Value| {
        let mut whole = json!({ "preset": "Custom", "region": "", "bucket": {} });
        for (name, value) in part.as_object().into_iter().flatten() {
            whole[name] = value.clone();
        }
        serde_json::from_value::<BucketConnectionSpec>(whole)
    };
    read(&fitting(spec, &|part| read(part).is_ok()).unwrap_or_default())
}

/// `value` without the fields that do not fit, at any depth; `None` if nothing of it fits.
fn fitting(value: &Value, fits: &dyn Fn(&Value) -> bool) -> Option<Value> {
    if fits(value) {
        return Some(value.clone());
    }
    let mut kept = Map::new();
    for (name, field) in value.as_object()? {
        let with = |part: &Value| {
            let mut with = kept.clone();
            with.insert(name.clone(), part.clone());
            Value::Object(with)
        };
        if let Some(part) = fitting(field, &|part| fits(&with(part))) {
            kept.insert(name.clone(), part);
        }
    }
    let kept = Value::Object(kept);
    fits(&kept).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{BucketConnectionStatus, DeletionPolicy};
    use crate::desired::names;

    fn partial(spec: Value, status: Value) -> Partial {
        let stored = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": { "name": "c", "namespace": "lab" },
            "spec": spec, "status": status,
        });
        Partial::of(serde_json::from_value(stored).unwrap()).unwrap()
    }

    #[test]
    fn what_can_be_read_is_kept_beside_what_cannot() {
        let credentials = json!({ "secret": { "name": "key" }, "rotation": { "interval": "12h1d", "overlap": "1h" } });
        let spec = json!({
            "preset": "Later", "region": "us-east-1", "bucket": { "name": "data", "encryption": { "type": "Later" } },
            "accountRef": { "name": "research" }, "credentials": credentials, "deletionPolicy": "Delete", "resyncInterval": 10,
        });
        let read = partial(spec.clone(), json!({ "accountId": "123456789012" }));
        let object = &read.object;
        assert_eq!(read.spec, spec);
        assert_eq!((names::of(object), names::secret(object).as_str()), ("c", "key"));
        assert_eq!((object.spec.account_ref.name.as_str(), object.spec.deletion_policy), ("research", DeletionPolicy::Delete));
        assert_eq!((object.spec.bucket.name.as_deref(), object.spec.region.as_str()), (Some("data"), "us-east-1"));
        let rotation = object.spec.credentials.as_ref().unwrap().rotation.as_ref().unwrap();
        assert_eq!((&rotation.interval, &rotation.overlap), (&None, &Some("1h".parse().unwrap())));
        assert_eq!(object.status.as_ref().unwrap().memory.account_id.as_deref(), Some("123456789012"));
    }

    #[test]
    fn of_an_object_that_says_nothing_readable_the_name_is_left() {
        for spec in [json!({ "deletionPolicy": "Archive", "credentials": 7 }), json!(null), json!("text")] {
            let read = partial(spec, json!({ "conditions": "none" }));
            assert_eq!(
                (read.object.spec.deletion_policy, names::secret(&read.object).as_str()),
                (DeletionPolicy::Retain, "c-s3")
            );
            assert_eq!(read.object.status, None::<BucketConnectionStatus>);
        }
    }
}
