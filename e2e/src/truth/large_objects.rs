//! Large objects: size and content of each, holes read as zeros.

use std::pin::pin;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio_postgres::{Client, types::Oid};

use super::{Kind, Truth};

/// Bytes of a page of `pg_largeobject` (a quarter of a block of 8 KiB).
const PAGE: usize = 2048;
const HOLE: [u8; PAGE] = [0; PAGE];

/// One object while its pages come by.
struct Content {
    oid: Oid,
    size: usize,
    hash: Sha256,
}

impl Content {
    fn new(oid: Oid) -> Self {
        Self {
            oid,
            size: 0,
            hash: Sha256::new(),
        }
    }

    fn page(&mut self, number: usize, data: &[u8]) {
        while self.size < number * PAGE {
            let missing = PAGE.min(number * PAGE - self.size);
            self.hash.update(&HOLE[..missing]);
            self.size += missing;
        }
        self.hash.update(data);
        self.size += data.len();
    }

    fn state(self, truth: &mut Truth) {
        let digest = hex::encode(self.hash.finalize());
        truth.state(
            Kind::LargeObject,
            self.oid.to_string(),
            format!("{} bytes, sha256 {digest}", self.size),
        );
    }
}

pub(super) async fn find(client: &Client, truth: &mut Truth) -> anyhow::Result<()> {
    let failed = "the large objects cannot be read";
    // An object that was never written has no page.
    let pages = "
        SELECT m.oid, l.pageno, l.data FROM pg_catalog.pg_largeobject_metadata m
          LEFT JOIN pg_catalog.pg_largeobject l ON l.loid = m.oid
         ORDER BY m.oid, l.pageno";
    let mut rows = pin!(
        client
            .query_raw(pages, std::iter::empty::<i32>())
            .await
            .context(failed)?
    );
    let mut content: Option<Content> = None;
    while let Some(row) = rows.try_next().await.context(failed)? {
        let oid: Oid = row.get(0);
        if content.as_ref().is_none_or(|before| before.oid != oid)
            && let Some(before) = content.replace(Content::new(oid))
        {
            before.state(truth);
        }
        if let (Some(content), Some(number)) = (content.as_mut(), row.get::<_, Option<i32>>(1)) {
            content.page(usize::try_from(number)?, row.get(2));
        }
    }
    if let Some(last) = content {
        last.state(truth);
    }
    Ok(())
}
