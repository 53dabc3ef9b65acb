//! Two connections with their buckets, users and Secrets, as an operator leaves them; and a folder to copy from and to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use aws_sdk_s3::primitives::ByteStream;
use bucketconnection::desired::names;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::support::harness::Harness;
use crate::support::stack::{Scratch, Stack, scratch};

pub struct Place {
    pub harness: Harness,
    pub folder: Scratch,
}

/// What a command printed, and its exit code.
pub struct Said {
    pub code: i32,
    pub text: String,
}

impl Place {
    /// The connections `a` and `b`, to the prefix `runs/` of the buckets `bucket-a` and `bucket-b`.
    pub async fn new(name: &str, spec: Value) -> Self {
        let harness = Harness::idle(name, Stack::cluster(), &[]).await;
        let folder = scratch(&format!("data-{name}"));
        let place = Self { harness, folder };
        place.connect("a", &spec).await;
        place.connect("b", &spec).await;
        place
    }

    async fn connect(&self, name: &str, spec: &Value) {
        let (bucket, iam) = (format!("bucket-{name}"), self.harness.iam());
        self.harness.s3().create_bucket().bucket(&bucket).send().await.unwrap();
        iam.create_user().user_name(name).send().await.unwrap();
        let bucket_arn = format!("arn:aws:s3:::{bucket}");
        let policy = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": bucket_arn },
            { "Effect": "Allow", "Action": "s3:*", "Resource": format!("{bucket_arn}/runs/*") },
        ] });
        iam.put_user_policy().user_name(name).policy_name("s3").policy_document(policy.to_string()).send().await.unwrap();
        let key = iam.create_access_key().user_name(name).send().await.unwrap().access_key.unwrap();
        let mut object = self.harness.connection(&bucket, spec.clone());
        object["metadata"]["name"] = json!(name);
        let object = self.harness.apply(&object).await;
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": names::secret(&object) },
            "stringData": { "AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key },
        }))
        .unwrap();
        self.harness.secrets().create(&PostParams::default(), &secret).await.unwrap();
    }

    /// A command in the folder, as a user runs it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bucketconnection"));
        command.args(arguments).args(["--namespace", &self.harness.namespace]).current_dir(&self.folder);
        command.env_clear().env("HOME", self.folder.join("home")).env("KUBECONFIG", &self.harness.kubeconfig);
        command.env("AWS_ENDPOINT_URL", &self.harness.proxy.url).env("AWS_EC2_METADATA_DISABLED", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        tokio::task::block_in_place(|| self.command(arguments).output()).unwrap().into()
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.text);
        said.text
    }

    /// Writes a file below the folder. Its content depends on its name and size only.
    pub fn write(&self, name: &str, size: usize) -> Vec<u8> {
        let content = content(name, size);
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &content).unwrap();
        content
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes an object with the administrator's key, not through the proxy.
    pub async fn put(&self, bucket: &str, key: &str, content: Vec<u8>) {
        self.harness.s3().put_object().bucket(bucket).key(key).body(ByteStream::from(content)).send().await.unwrap();
    }

    /// The content of an object, if it exists.
    pub async fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let answer = self.harness.s3().get_object().bucket(bucket).key(key).send().await.ok()?;
        Some(answer.body.collect().await.unwrap().to_vec())
    }

    /// All keys of a bucket.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let listed = self.harness.s3().list_objects_v2().bucket(bucket).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }
}

/// The files below a folder, also hidden ones.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path.strip_prefix(folder).unwrap().display().to_string()) }
        }
    }
    found.sort();
    found
}

/// Bytes that no compression or block of zeros could be mistaken for.
pub fn content(name: &str, size: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(size as u64 | 1, |state, byte| state.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state ^ (state >> 29)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(size);
    bytes
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = [output.stdout, output.stderr].concat();
        Self { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() }
    }
}
