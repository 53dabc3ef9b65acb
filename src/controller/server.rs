//! Serves `/metrics`, `/healthz` and `/readyz` to every client that reaches the port.
//!
//! No client can block the others: a connection that sends no request is closed soon, the oldest connection is closed
//! if there are too many, and `/healthz` waits for nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::AbortHandle;

use super::Metrics;

/// Maximum number of connections.
const CONNECTIONS: usize = 128;
/// Maximum number of connections that read the metrics, whose text may be long.
const SCRAPES: usize = 4;
/// The time within which a request must arrive: the kubelet allows one second for a whole probe.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of a whole connection.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The smallest limit that hyper allows.
const REQUEST_BYTES: usize = 8_192;
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Answers requests.
pub(super) struct Server {
    metrics: Arc<Metrics>,
    scrapes: Arc<Semaphore>,
    header_timeout: Duration,
}

impl Server {
    /// Serves `metrics`.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, scrapes: Arc::new(Semaphore::new(SCRAPES)), header_timeout: HEADER_TIMEOUT }
    }

    /// Serves forever.
    pub(super) async fn listen(self, listener: TcpListener) {
        let this = Arc::new(self);
        let mut open: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    open.retain(|connection| !connection.is_finished());
                    if open.len() >= CONNECTIONS
                        && let Some(oldest) = open.pop_front()
                    {
                        oldest.abort();
                    }
                    let this = Arc::clone(&this);
                    let served = async move { tokio::time::timeout(TIMEOUT.max(this.header_timeout), this.serve(stream)).await };
                    open.push_back(tokio::spawn(served).abort_handle());
                }
                Err(error) => {
                    tracing::warn!(%error, "metrics");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream) -> hyper::Result<()> {
        // Held until the whole answer is read, since it is in memory for that long.
        let scrape = OnceCell::new();
        let service = service_fn(async |request: Request<Incoming>| {
            if request.uri().path() == "/metrics" {
                // The semaphore is never closed.
                let _ = scrape.get_or_init(async || self.scrapes.acquire().await.ok()).await;
            }
            Ok::<_, Infallible>(self.metrics.answer(&request))
        });
        http1::Builder::new()
            .keep_alive(false)
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_buf_size(REQUEST_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A server, and how to connect to it.
    async fn server(header_timeout: Duration) -> impl AsyncFn() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Server { header_timeout, ..Server::new(Arc::new(Metrics::new(true))) }.listen(listener));
        async move || TcpStream::connect(address).await.unwrap()
    }

    async fn asked(mut stream: TcpStream, path: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn half_open(mut stream: TcpStream) -> TcpStream {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.unwrap();
        stream
    }

    fn is_open(stream: &TcpStream) -> bool {
        stream.try_read(&mut [0; 64]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Far more time than the test takes, so no connection ends without a cause.
    const LONG: Duration = Duration::from_secs(1_000_000);

    #[tokio::test]
    async fn half_open_connections_keep_nobody_from_asking() {
        let connect = server(LONG).await;
        let mut others = Vec::new();
        for _ in 0..40 {
            others.push(half_open(connect().await).await);
        }
        for _ in 0..8 {
            assert!(asked(connect().await, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
        }
        assert!(asked(connect().await, "/metrics").await.contains("bucketconnection_build_info"));
        assert!(others.iter().all(is_open), "they are still there");
        for _ in 0..2 * CONNECTIONS {
            others.push(half_open(connect().await).await);
        }
        assert!(asked(connect().await, "/healthz").await.starts_with("HTTP/1.1 200 OK"), "more than may be open");
    }

    #[tokio::test]
    async fn a_request_that_does_not_come_is_not_waited_for() {
        let connect = server(Duration::from_millis(10)).await;
        for mut stream in [half_open(connect().await).await, connect().await] {
            // Ends when the server closes the connection.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}
