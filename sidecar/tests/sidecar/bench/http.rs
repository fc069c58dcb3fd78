//! One plain HTTP request, for the ports of a sidecar.

use std::net::SocketAddr;

use hyper::Response;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Asks for a path, with `If-None-Match` where a tag is given.
pub async fn get(
    address: SocketAddr,
    path: &str,
    known: Option<&str>,
) -> Result<Response<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
    use http_body_util::{BodyExt as _, Empty};
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let mut request = hyper::Request::get(path).header("host", address.to_string());
    if let Some(tag) = known {
        request = request.header("if-none-match", tag);
    }
    let answer = sender
        .send_request(request.body(Empty::<bytes::Bytes>::new())?)
        .await?;
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(
        head,
        body.collect().await?.to_bytes().to_vec(),
    ))
}
