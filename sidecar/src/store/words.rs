//! The words of an answer that is no object. The S3 client reads them whole before it understands them, so there is an end to them here: to their bytes,
//! and to the elements that they are made of, each of which takes many times its own length once it is understood.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_sdk_s3::error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Frame, SizeHint};

/// The most bytes. The longest answer is a page of a listing: a thousand versions under keys as long as keys may be.
const MAX_WORDS: usize = 8 * 1024 * 1024;
/// The most tags. Such a page has about thirty for each version, their ends included.
const MAX_TAGS: usize = 100_000;

/// Words that end as an error where they have no end that makes sense.
pub(super) fn bounded(words: SdkBody) -> SdkBody {
    SdkBody::from_body_1_x(Bounded {
        words: Box::pin(Limited::new(words, MAX_WORDS)),
        tags_left: MAX_TAGS,
    })
}

struct Bounded {
    words: Pin<Box<Limited<SdkBody>>>,
    tags_left: usize,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let bounded = self.get_mut();
        let frame = ready!(bounded.words.as_mut().poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let tags = memchr::memchr_iter(b'<', data).count();
            let Some(left) = bounded.tags_left.checked_sub(tags) else {
                let why = format!("it has more than {MAX_TAGS} tags");
                return Poll::Ready(Some(Err(why.into())));
            };
            bounded.tags_left = left;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.words.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.words.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn read(words: String) -> Option<usize> {
        let read = bounded(SdkBody::from(words)).collect().await;
        read.ok().map(|read| read.to_bytes().len())
    }

    #[tokio::test]
    async fn words_with_as_many_tags_as_an_honest_page_are_read_and_those_with_more_are_not() {
        let page = "<Version/>".repeat(30_000);
        assert_eq!(read(page.clone()).await, Some(page.len()));
        assert_eq!(read("<a/>".repeat(MAX_TAGS)).await, Some(4 * MAX_TAGS));
        assert_eq!(read("<a/>".repeat(MAX_TAGS + 1)).await, None);
        assert_eq!(read(" ".repeat(MAX_WORDS + 1)).await, None);
    }
}
