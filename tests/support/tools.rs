//! The programs of others that tests/tools builds: helm, Flux, Prometheus.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::OnceLock;

use super::stack::ROOT;

/// Where the tool is, such as `helm`. Builds the tools if something of them changed.
pub fn tool(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Command::new("python3").arg(format!("{ROOT}/tests/tools/build.py")).status().expect("python3 runs");
        assert!(built.success(), "tests/tools/build.py failed");
    });
    let place = PathBuf::from(format!("{ROOT}/target/local/tools/{name}"));
    assert!(place.exists(), "go.mod of tests/tools has no tool {name}");
    place
}

/// A program that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
