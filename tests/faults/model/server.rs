//! The entry point over loopback, for an operator in a separate process.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;

use bytes::Bytes;
use http::{Request, Response};

use super::Model;
use crate::support::proxy::read_message;

/// Serves the model on a free port; returns its URL. The threads live as long as the program. Each connection carries
/// one request, as the proxy of `support` expects: it may be put in front for faults.
pub fn serve(model: &Model) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let model = model.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let model = model.clone();
            thread::spawn(move || {
                let _ = talk(client, &model);
            });
        }
    });
    url
}

fn talk(mut client: TcpStream, model: &Model) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let Some(request) = read_message(&mut client)?.and_then(|raw| parse(&raw)) else { return Ok(()) };
    client.write_all(&written(&model.answer(&request), request.method() == "HEAD"))
}

fn parse(raw: &[u8]) -> Option<Request<Bytes>> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        request = request.header(name, value.trim());
    }
    request.body(Bytes::copy_from_slice(&raw[end + 4..])).ok()
}

/// An answer to HEAD has no body, but the original Content-Length.
fn written(answer: &Response<Bytes>, head: bool) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} Model\r\nconnection: close\r\n", answer.status().as_u16());
    for (name, value) in answer.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    if !head && answer.status() != 204 {
        text += &format!("content-length: {}\r\n", answer.body().len());
    }
    let mut raw = (text + "\r\n").into_bytes();
    raw.extend_from_slice(answer.body());
    raw
}
