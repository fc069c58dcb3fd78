//! What the gate itself says to a client: errors as a store would word them, since clients of stores read nothing else.

use std::fmt::Write as _;

use bytes::Bytes;
use dataembassy_contract::gate::REFUSED_HEADER;
use dataembassy_ledger::door::Refusal;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::download::Answer;
use crate::store::StoreError;

/// How soon a client may try again, in seconds.
const SOON: HeaderValue = HeaderValue::from_static("2");

/// Status and code by which clients of stores know what to do about a refusal.
fn meaning(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::NoLength => (StatusCode::LENGTH_REQUIRED, "MissingContentLength"),
        Refusal::Length { .. } => (StatusCode::BAD_REQUEST, "EntityTooLarge"),
        Refusal::Malformed => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        Refusal::Slow => (StatusCode::BAD_REQUEST, "RequestTimeout"),
        Refusal::Incomplete => (StatusCode::BAD_REQUEST, "IncompleteBody"),
        Refusal::Quota { .. } => (StatusCode::FORBIDDEN, "QuotaExceeded"),
        Refusal::Rate { .. } | Refusal::Commits | Refusal::Busy => {
            (StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
        }
        _ => (StatusCode::FORBIDDEN, "AccessDenied"),
    }
}

/// The answer to a request that does not pass.
pub(super) fn refused(refusal: &Refusal) -> Response<Answer> {
    let (status, code) = meaning(refusal);
    let mut answer = error(
        status,
        code,
        &format!("the gate refuses this: {refusal} ({})", refusal.word()),
    );
    answer
        .headers_mut()
        .insert(REFUSED_HEADER, HeaderValue::from_static(refusal.word()));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, SOON);
    }
    answer
}

/// The answer to a request that passed and that the store did not get.
pub(super) fn store_unreachable(why: &StoreError) -> Response<Answer> {
    let message = format!("the gate cannot pass this on ({}): {why}", why.reason());
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &message);
    answer.headers_mut().insert(RETRY_AFTER, SOON);
    answer
}

/// The answer to a request that passed and that the store has not answered: it may have done what it was asked.
pub(super) fn store_silent(why: &StoreError) -> Response<Answer> {
    let message = format!("the gate got no answer for this ({}): {why}", why.reason());
    let (status, code) = match why {
        StoreError::NoAnswer { .. } => (StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout"),
        _ => (StatusCode::BAD_GATEWAY, "BadGateway"),
    };
    error(status, code, &message)
}

/// The client must open another connection for its next request.
pub(super) fn close(answer: &mut Response<Answer>) {
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Answer> {
    let mut body = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>");
    body.push_str(code);
    body.push_str("</Code><Message>");
    for letter in message.chars().take(512) {
        match letter {
            '<' => body.push_str("&lt;"),
            '>' => body.push_str("&gt;"),
            '&' => body.push_str("&amp;"),
            letter if letter.is_control() => {}
            letter => body.push(letter),
        }
    }
    // A String takes every write.
    let _ = write!(body, "</Message></Error>");
    let mut answer = Response::new(Answer::Said(Some(Bytes::from(body))));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(answer: Response<Answer>) -> String {
        match answer.into_body() {
            Answer::Said(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            Answer::Said(None) | Answer::Passed(_) => panic!("these are not the gate's own words"),
        }
    }

    #[test]
    fn a_client_reads_in_the_answer_whether_it_may_try_again() {
        let limit = 1;
        for (refusal, status, code, again) in [
            (Refusal::NoLength, 411, "MissingContentLength", false),
            (Refusal::Length { limit }, 400, "EntityTooLarge", false),
            (Refusal::Malformed, 400, "InvalidRequest", false),
            (Refusal::Slow, 400, "RequestTimeout", false),
            (Refusal::Incomplete, 400, "IncompleteBody", false),
            (Refusal::Quota { limit }, 403, "QuotaExceeded", false),
            (Refusal::Rate { limit }, 503, "SlowDown", true),
            (Refusal::Commits, 503, "SlowDown", true),
            (Refusal::Busy, 503, "SlowDown", true),
            (Refusal::Fenced, 403, "AccessDenied", false),
        ] {
            let answer = refused(&refusal);
            assert_eq!(answer.status().as_u16(), status, "{refusal:?}");
            assert_eq!(answer.headers().contains_key(RETRY_AFTER), again, "{refusal:?}");
            assert_eq!(answer.headers()[REFUSED_HEADER], refusal.word());
            let said = said(answer);
            assert!(said.contains(&format!("<Code>{code}</Code>")), "{said}");
            assert!(
                said.contains(&format!("({})</Message>", refusal.word())),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_said_is_whole_xml_whatever_it_tells() {
        let said = said(error(StatusCode::BAD_GATEWAY, "BadGateway", "<a> & b\u{7}"));
        assert!(
            said.ends_with("<Message>&lt;a&gt; &amp; b</Message></Error>"),
            "{said}"
        );
    }
}
