//! The subset of XML that S3, IAM and STS use, and their errors.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::state::Tags;

/// An error answer.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// The bucket's region, if the answer names it.
    pub region: Option<String>,
}

pub type Answer = Result<Success, Refusal>;

/// A successful answer.
#[derive(Debug, Default)]
pub struct Success {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub fn refuse<T>(status: u16, code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, code, message: message.into(), region: None })
}

impl Success {
    pub fn xml(body: impl Into<String>) -> Self {
        let mut answer = Self { status: 200, body: Bytes::from(body.into()), ..Self::default() };
        answer.headers.insert("content-type", HeaderValue::from_static("application/xml"));
        answer
    }

    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }
}

/// The answer in the form of the service.
pub fn response(service: &str, method: &str, answer: Answer) -> Response<Bytes> {
    let success = answer.unwrap_or_else(|refusal| refused(service, &refusal));
    // HEAD has no body, so its errors have no code.
    let body = if method == "HEAD" { Bytes::new() } else { success.body };
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(success.status).unwrap();
    *response.headers_mut() = success.headers;
    response.headers_mut().insert("x-amz-request-id", HeaderValue::from_static("MODEL"));
    response
}

fn refused(service: &str, refusal: &Refusal) -> Success {
    let Refusal { status, code, message, region } = refusal;
    let mut inner = element("Code", code) + &element("Message", message);
    if let Some(region) = region {
        inner += &element("Region", region);
    }
    let body = if service == "s3" {
        format!("<Error>{inner}<RequestId>MODEL</RequestId></Error>")
    } else {
        format!("<ErrorResponse><Error><Type>Sender</Type>{inner}</Error><RequestId>MODEL</RequestId></ErrorResponse>")
    };
    let answer = Success { status: *status, ..Success::xml(body) };
    match region {
        Some(region) => answer.header("x-amz-bucket-region", region),
        None => answer,
    }
}

/// A refusal as a response, for faults.
pub fn error(service: &str, status: u16, code: &'static str) -> Response<Bytes> {
    response(service, "GET", refuse(status, code, "injected"))
}

/// The answer of an IAM or STS action.
pub fn result(action: &str, inner: &str) -> Answer {
    let name = action.split(':').nth(1).unwrap_or_default();
    Ok(Success::xml(format!(
        "<{name}Response><{name}Result>{inner}</{name}Result><ResponseMetadata><RequestId>MODEL</RequestId></ResponseMetadata></{name}Response>"
    )))
}

pub fn element(name: &str, value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    format!("<{name}>{value}</{name}>")
}

/// In the encoding of IAM for policy documents.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Pairs of a query or form; `+` is a space in forms only.
pub fn pairs(text: &str, form: bool) -> Vec<(String, String)> {
    let decode = |part: &str| if form { decoded(&part.replace('+', " ")) } else { decoded(part) };
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

/// Contents of all elements `name`, still escaped. Elements that contain elements of the same name do not occur.
pub fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find(&open) {
        rest = &rest[start + open.len()..];
        // Another element whose name has the same prefix.
        if !rest.starts_with(['>', ' ', '/']) {
            continue;
        }
        let Some(end) = rest.find('>') else { break };
        if rest[..end].ends_with('/') {
            found.push("");
            continue;
        }
        let Some(length) = rest[end + 1..].find(&close) else { break };
        found.push(&rest[end + 1..end + 1 + length]);
        rest = &rest[end + 1 + length..];
    }
    found
}

/// Content of the first element `name`, still escaped.
pub fn text<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    elements(xml, name).first().copied()
}

pub fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&#xD;", "\r").replace("&#xA;", "\n").replace("&amp;", "&")
}

/// The tags in an S3 body.
pub fn tags(xml: &str) -> Tags {
    let part = |tag: &str, name: &str| unescaped(text(tag, name).unwrap_or_default());
    elements(xml, "Tag").into_iter().map(|tag| (part(tag, "Key"), part(tag, "Value"))).collect()
}
