//! Signatures, each kind that a store may accept: what a gate refuses must be refused for its form, and not for a signature that is
//! wrong anyway.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use aws_sdk_s3::config::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::{SigningParams, calculate_signature, generate_signing_key, sign_chunk};
use aws_smithy_runtime_api::client::identity::Identity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dataembassy_ledger::value::Sha256Digest;
use jiff::Timestamp;

use super::wire::RawRequest;
use crate::store::DepositKeys;

/// What stands in `x-amz-content-sha256` of a body in signed chunks.
const SIGNED_CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
/// The most bytes of a signed chunk.
const CHUNK: usize = 64 * 1024;
/// How long a presigned request is good for.
const PRESIGNED_FOR: Duration = Duration::from_mins(5);

/// How a request is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signing {
    /// By an `Authorization` header that covers the SHA-256 of the body.
    Body,
    /// By an `Authorization` header that claims this of the body.
    Claimed(String),
    /// As `Body`, for another service than S3.
    Service(&'static str),
    /// By an `Authorization` header, the body in chunks that are signed one after the other.
    SignedChunks,
    /// By the query.
    Presigned,
    /// By version 2 of the signature.
    Version2,
    /// Not at all.
    Nobody,
}

/// The request cannot be signed: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("a probe cannot be signed ({0}); report it")]
pub struct NotSigned(String);

/// A store user's keys, and the region that requests are signed for.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    keys: DepositKeys,
    region: String,
}

impl Signer {
    pub(super) const fn new(keys: DepositKeys, region: String) -> Self {
        Self { keys, region }
    }

    /// The user's name.
    pub(super) fn name(&self) -> &str {
        &self.keys.access_key_id
    }

    /// Adds the signature to a request that goes to `origin`.
    pub(super) fn sign(
        &self,
        request: &mut RawRequest,
        signing: &Signing,
        origin: &str,
        at: Timestamp,
    ) -> Result<(), NotSigned> {
        match signing {
            Signing::Body => {
                let digest = Sha256Digest::of(&request.body).to_string();
                self.in_headers(request, "s3", digest, origin, at).map(drop)
            }
            Signing::Service(service) => {
                let digest = Sha256Digest::of(&request.body).to_string();
                self.in_headers(request, service, digest, origin, at).map(drop)
            }
            Signing::Claimed(claim) => self
                .in_headers(request, "s3", claim.clone(), origin, at)
                .map(drop),
            Signing::SignedChunks => self.in_chunks(request, origin, at),
            Signing::Presigned => self.in_query(request, origin, at, PRESIGNED_FOR),
            Signing::Version2 => {
                self.version_2(request, at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
                Ok(())
            }
            Signing::Nobody => Ok(()),
        }
    }

    fn in_headers(
        &self,
        request: &mut RawRequest,
        service: &str,
        payload: String,
        origin: &str,
        at: Timestamp,
    ) -> Result<String, NotSigned> {
        let mut settings = settings();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = self.identity();
        let parameters = self.parameters(&identity, service, settings, at)?;
        let uri = format!("{origin}{}", request.target);
        let headers: Vec<(&str, &str)> = borrowed(&request.headers);
        let signable = SignableRequest::new(
            request.method,
            uri,
            headers.into_iter(),
            SignableBody::Precomputed(payload),
        );
        let (instructions, signature) = signable
            .and_then(|signable| sign(signable, &parameters.into()))
            .map_err(not_signed)?
            .into_parts();
        let (added, _) = instructions.into_parts();
        request.headers.extend(
            added
                .iter()
                .map(|header| (header.name(), header.value().to_owned())),
        );
        Ok(signature)
    }

    /// The body in chunks and the empty one at the end, each signed after the one before.
    fn in_chunks(&self, request: &mut RawRequest, origin: &str, at: Timestamp) -> Result<(), NotSigned> {
        let whole = Bytes::from(std::mem::take(&mut request.body));
        let mut chunks: Vec<Bytes> = whole.chunks(CHUNK).map(|chunk| whole.slice_ref(chunk)).collect();
        chunks.push(Bytes::new());
        // Beside the length's digits and the data: ";chunk-signature=", 64 digits, two line ends.
        let framed = |chunk: &Bytes| format!("{:x}", chunk.len()).len() + 85 + chunk.len();
        let length: usize = chunks.iter().map(framed).sum();
        request.headers.retain(|(name, _)| *name != "content-length");
        request.headers.push(("content-length", length.to_string()));
        request
            .headers
            .push(("x-amz-decoded-content-length", whole.len().to_string()));
        let mut signature = self.in_headers(request, "s3", SIGNED_CHUNKS.into(), origin, at)?;
        let identity = self.identity();
        let parameters = self.parameters(&identity, "s3", settings(), at)?;
        for chunk in chunks {
            signature = sign_chunk(&chunk, &signature, &parameters)
                .map_err(not_signed)?
                .into_parts()
                .1;
            request
                .body
                .extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
            request.body.extend_from_slice(&chunk);
            request.body.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    fn in_query(
        &self,
        request: &mut RawRequest,
        origin: &str,
        at: Timestamp,
        good_for: Duration,
    ) -> Result<(), NotSigned> {
        let mut settings = settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(good_for);
        let identity = self.identity();
        let parameters = self.parameters(&identity, "s3", settings, at)?;
        let uri = format!("{origin}{}", request.target);
        let headers = borrowed(&request.headers);
        let signable = SignableRequest::new(
            request.method,
            uri,
            headers.into_iter(),
            SignableBody::UnsignedPayload,
        );
        let (instructions, _) = signable
            .and_then(|signable| sign(signable, &parameters.into()))
            .map_err(not_signed)?
            .into_parts();
        for (name, value) in instructions.params() {
            let separator = if request.target.contains('?') { '&' } else { '?' };
            request.target = format!("{}{separator}{name}={}", request.target, escaped(value));
        }
        Ok(())
    }

    /// The signature before version 4, which some stores still take: HMAC-SHA-1 over a few lines.
    fn version_2(&self, request: &mut RawRequest, date: String) {
        let mut amazon: Vec<String> = request
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-amz-"))
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        amazon.sort();
        let path = request.target.split('?').next().unwrap_or_default();
        let text = format!("{}\n\n\n{date}\n{}{path}", request.method, amazon.concat());
        let key = hmac::Key::new(
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            self.keys.secret_access_key.as_bytes(),
        );
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        request.headers.push(("date", date));
        request.headers.push((
            "authorization",
            format!("AWS {}:{signature}", self.keys.access_key_id),
        ));
    }

    /// The fields of a form that puts `key` into `bucket`, with the policy that allows it and its signature.
    pub(super) fn form(&self, bucket: &str, key: &str, at: Timestamp) -> Vec<(&'static str, String)> {
        let day = at.strftime("%Y%m%d").to_string();
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let credential = format!(
            "{}/{day}/{}/s3/aws4_request",
            self.keys.access_key_id, self.region
        );
        let expires = Timestamp::from_second(at.as_second() + 300).unwrap_or(at);
        let policy = serde_json::json!({
            "expiration": expires.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
            "conditions": [
                {"bucket": bucket}, ["eq", "$key", key], {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
                {"x-amz-credential": credential}, {"x-amz-date": date}
            ]
        });
        let policy = STANDARD.encode(policy.to_string());
        let signing_key =
            generate_signing_key(&self.keys.secret_access_key, system_time(at), &self.region, "s3");
        let signature = calculate_signature(signing_key, policy.as_bytes());
        vec![
            ("key", key.to_owned()),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", credential),
            ("x-amz-date", date),
            ("policy", policy),
            ("x-amz-signature", signature),
        ]
    }

    fn identity(&self) -> Identity {
        let keys = &self.keys;
        Credentials::new(&keys.access_key_id, &keys.secret_access_key, None, None, "check").into()
    }

    fn parameters<'a>(
        &'a self,
        identity: &'a Identity,
        service: &'a str,
        settings: SigningSettings,
        at: Timestamp,
    ) -> Result<SigningParams<'a, SigningSettings>, NotSigned> {
        SigningParams::builder()
            .identity(identity)
            .region(&self.region)
            .name(service)
            .time(system_time(at))
            .settings(settings)
            .build()
            .map_err(not_signed)
    }
}

fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

fn not_signed(error: impl std::fmt::Display) -> NotSigned {
    NotSigned(error.to_string())
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(at.as_second().unsigned_abs())
}

fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// Percent-encodes all but the characters that a signature leaves as they are.
pub(super) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            escaped + &char::from(byte).to_string()
        }
        _ => format!("{escaped}%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    //! The examples of the signature's own description, of 24 May 2013.

    use super::*;

    const ORIGIN: &str = "https://examplebucket.s3.amazonaws.com";

    fn signer() -> Signer {
        let keys = DepositKeys {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        };
        Signer::new(keys, "us-east-1".into())
    }

    fn at() -> Timestamp {
        "2013-05-24T00:00:00Z".parse().unwrap()
    }

    fn request(method: &'static str, target: &str, headers: &[(&'static str, &str)]) -> RawRequest {
        RawRequest {
            method,
            target: target.into(),
            headers: headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            body: Vec::new(),
        }
    }

    fn signed(mut request: RawRequest, signing: &Signing) -> RawRequest {
        signer().sign(&mut request, signing, ORIGIN, at()).unwrap();
        request
    }

    fn header<'a>(request: &'a RawRequest, name: &str) -> &'a str {
        &request
            .headers
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap()
            .1
    }

    #[test]
    fn a_get_has_the_signature_of_the_description() {
        let headers = [("host", "examplebucket.s3.amazonaws.com"), ("range", "bytes=0-9")];
        let signed = signed(request("GET", "/test.txt", &headers), &Signing::Body);
        assert_eq!(
            header(&signed, "authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn a_subresource_and_a_listing_have_the_signatures_of_the_description() {
        let host = [("host", "examplebucket.s3.amazonaws.com")];
        let lifecycle = signed(request("GET", "/?lifecycle", &host), &Signing::Body);
        assert!(
            header(&lifecycle, "authorization")
                .ends_with("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")
        );
        let listing = signed(request("GET", "/?max-keys=2&prefix=J", &host), &Signing::Body);
        assert!(
            header(&listing, "authorization")
                .ends_with("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
        );
    }

    #[test]
    fn a_presigned_request_has_the_signature_of_the_description() {
        let mut get = request("GET", "/test.txt", &[("host", "examplebucket.s3.amazonaws.com")]);
        signer()
            .in_query(&mut get, ORIGIN, at(), Duration::from_hours(24))
            .unwrap();
        assert_eq!(
            get.target,
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F\
             aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=\
             aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn signed_chunks_have_the_signatures_of_the_description() {
        let headers = [
            ("host", "s3.amazonaws.com"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("content-encoding", "aws-chunked"),
            ("content-length", "0"),
        ];
        let mut put = request("PUT", "/examplebucket/chunkObject.txt", &headers);
        put.body = vec![b'a'; 66_560];
        signer()
            .sign(&mut put, &Signing::SignedChunks, "https://s3.amazonaws.com", at())
            .unwrap();
        assert_eq!(header(&put, "content-length"), "66824");
        assert_eq!(put.body.len(), 66_824);
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        assert!(header(&put, "authorization").ends_with(seed));
        let body = String::from_utf8(put.body).unwrap();
        for (length, signature) in [
            (
                "10000",
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            ),
            (
                "400",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            ),
            (
                "0",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ),
        ] {
            assert!(
                body.contains(&format!("{length};chunk-signature={signature}\r\n")),
                "{length}"
            );
        }
    }

    #[test]
    fn the_signature_of_version_2_is_the_one_of_its_description() {
        let mut get = request("GET", "/awsexamplebucket1/photos/puppy.jpg", &[]);
        signer().version_2(&mut get, "Tue, 27 Mar 2007 19:36:42 +0000".into());
        assert_eq!(
            header(&get, "authorization"),
            "AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g="
        );
    }

    #[test]
    fn what_is_escaped_comes_back_whole() {
        assert_eq!(escaped("a/b c~ü"), "a%2Fb%20c~%C3%BC");
    }
}
