//! The container image that `make image` builds, run by runc as a node runs it: read-only, without capabilities, as
//! another user than root, with the token of the operator's ServiceAccount.
//!
//! The program in it is built without optimization, which saves ten minutes; `IMAGE_PROFILE=release` tests the image that
//! `make image` builds, as `make soak` does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::harness::{Harness, LIMIT, told};
use crate::support::stack::{ROOT, Stack};
use crate::support::tools::tool;

/// Where a pod finds the token of its ServiceAccount.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn profile() -> String {
    std::env::var("IMAGE_PROFILE").unwrap_or_else(|_| "dev".to_owned())
}

/// Builds the image once, and returns its folder.
fn image() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Command::new("python3")
            .arg(format!("{ROOT}/deploy/image/build.py"))
            .args(["--profile", &profile()])
            .output()
            .expect("python3 runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    });
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let suffix = if profile() == "release" { "" } else { "-dev" };
    PathBuf::from(format!("{ROOT}/target/image/{arch}{suffix}"))
}

/// A file of the image layout, by its digest.
fn blob(image: &Path, digest: &Value) -> PathBuf {
    image.join("oci/blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

fn parsed(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The manifest and the configuration of the only image in the layout.
fn described(image: &Path) -> (Value, Value) {
    let index = parsed(&image.join("oci/index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1, "{index}");
    let manifest = parsed(&blob(image, &index["manifests"][0]["digest"]));
    let config = parsed(&blob(image, &manifest["config"]["digest"]));
    (manifest, config)
}

/// Unpacks the image into an OCI bundle that runc can run.
fn bundle(place: &Path, environment: &[String]) {
    let image = image();
    let (manifest, config) = described(&image);
    let rootfs = place.join("rootfs");
    fs::create_dir_all(&rootfs).unwrap();
    for layer in manifest["layers"].as_array().unwrap() {
        let unpacked =
            Command::new("tar").arg("-xzf").arg(blob(&image, &layer["digest"])).arg("-C").arg(&rootfs).status().unwrap();
        assert!(unpacked.success());
    }
    let strings =
        |value: &Value| value.as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let config = &config["config"];
    let arguments = [strings(&config["Entrypoint"]), strings(&config["Cmd"])].concat();
    assert_eq!(arguments, ["/bucketconnection", "run"]);
    let (user, group) = config["User"].as_str().unwrap().split_once(':').unwrap();
    let id = |text: &str| text.parse::<u32>().unwrap();
    let none: [&str; 0] = [];
    let bundle = json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "user": { "uid": id(user), "gid": id(group) },
            "args": arguments,
            "env": environment,
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": none, "effective": none, "permitted": none },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": TOKEN, "type": "bind", "source": place.join("token"), "options": ["bind", "ro"] },
        ],
        // The network is that of the machine: the API server and the emulator listen on loopback.
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] },
    });
    fs::write(place.join("config.json"), bundle.to_string()).unwrap();
}

/// Writes what the kubelet mounts into each pod; returns the address of the API server.
fn token(harness: &Harness, place: &Path) -> String {
    let kubeconfig: Value = serde_json::from_str(&fs::read_to_string(&harness.kubeconfig).unwrap()).unwrap();
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let authority = base64(cluster["certificate-authority-data"].as_str().unwrap());
    let created = harness.kubectl(&["create", "token", "bucketconnection", "--namespace", "bucketconnection-system"]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    fs::create_dir_all(place).unwrap();
    for (name, contents) in
        [("token", created.stdout.trim_ascii()), ("ca.crt", &authority), ("namespace", b"bucketconnection-system")]
    {
        fs::write(place.join(name), contents).unwrap();
        fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    cluster["server"].as_str().unwrap().trim_start_matches("https://").to_owned()
}

fn base64(text: &str) -> Vec<u8> {
    serde_json::from_value::<k8s_openapi::ByteString>(json!(text)).unwrap().0
}

/// A running container; it ends with the test.
struct Container {
    runc: Child,
    state: PathBuf,
}

impl Container {
    fn run(place: &Path) -> Self {
        let state = place.join("state");
        let runc = Command::new(tool("runc"))
            .args([
                "--root".as_ref(),
                state.as_os_str(),
                "run".as_ref(),
                "--bundle".as_ref(),
                place.as_os_str(),
                "operator".as_ref(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(place.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { runc, state }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let deleted = Command::new(tool("runc")).arg("--root").arg(&self.state).args(["delete", "--force", "operator"]).status();
        assert!(deleted.is_ok_and(|status| status.success()), "the container is not deleted");
        let _ = self.runc.wait();
    }
}

/// The folders above it are not readable by others, so a container as another user needs one of its own.
fn place(harness: &Harness) -> PathBuf {
    let place = std::env::temp_dir().join(&harness.namespace);
    fs::create_dir_all(&place).unwrap();
    place
}

#[tokio::test]
async fn the_image_connects_a_bucket_with_the_token_of_its_service_account() {
    let harness = Harness::idle("image", Stack::cluster(), &[]).await;
    let place = place(&harness);
    let (id, secret) = harness.emulator.key("operator");
    let server = token(&harness, &place.join("token"));
    let (host, port) = server.rsplit_once(':').unwrap();
    let environment = [
        format!("KUBERNETES_SERVICE_HOST={host}"),
        format!("KUBERNETES_SERVICE_PORT={port}"),
        format!("BUCKETCONNECTION_NAMESPACE={}", harness.namespace),
        "BUCKETCONNECTION_METRICS_ADDRESS=127.0.0.1:0".to_owned(),
        format!("AWS_ENDPOINT_URL={}", harness.proxy.url),
        "AWS_REGION=us-east-1".to_owned(),
        format!("AWS_ACCESS_KEY_ID={id}"),
        format!("AWS_SECRET_ACCESS_KEY={secret}"),
    ];
    bundle(&place, &environment);
    let container = Container::run(&place);
    harness.apply(&harness.connection("bucket-image", json!({ "preset": "IlluminaICA" }))).await;
    let object = harness.ready("c").await;
    assert_eq!(told(&object, "Ready").1, "Connected");
    // The operator writes the status first, and the line after it.
    let end = Instant::now() + LIMIT;
    loop {
        let log = fs::read_to_string(place.join("log")).unwrap();
        if log.contains("holds the lease") && log.contains("reconcile ended") {
            break;
        }
        assert!(Instant::now() < end, "{log}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    drop(container);
    fs::remove_dir_all(&place).unwrap();
}

#[test]
fn the_image_is_small_and_says_what_is_in_it() {
    let image = image();
    let (manifest, config) = described(&image);
    let size: u64 = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert!(profile() == "dev" || size < 40_000_000, "{size} bytes");
    assert_eq!(config["os"], "linux");
    assert_eq!(config["config"]["User"], "65532:65532");
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    let revision = labels["org.opencontainers.image.revision"].as_str().unwrap();
    assert!(revision.len() >= 40 || revision == "unknown", "{revision}");
    let bill = parsed(&image.join("bucketconnection.cdx.json"));
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let layer = blob(&image, &manifest["layers"][0]["digest"]);
    let listed = Command::new("tar").arg("-tzf").arg(layer).output().unwrap();
    let mut files: Vec<_> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
    files.sort();
    assert_eq!(files, ["bucketconnection", "etc/", "etc/ssl/", "etc/ssl/certs/", "etc/ssl/certs/ca-certificates.crt"]);
}
