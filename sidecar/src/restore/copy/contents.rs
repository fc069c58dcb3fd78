//! What the inventory says, in memory: a few hundred bytes a table.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use dataembassy_archive::{
    CopyKey, FileName,
    inventory::{
        End, Extension, Header, InventoryReader, LargeObjects, Line, Membership, NotCarried, Role, Settings,
        Table, Tablespace, Warning,
    },
};

use super::{CopyError, SealedCopy};

/// An inventory.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its first line.
    pub header: Header,
    /// Roles that the copy names.
    pub roles: Vec<Role>,
    /// Their memberships.
    pub memberships: Vec<Membership>,
    /// Settings of roles and of the database.
    pub settings: Vec<Settings>,
    /// Tablespaces that the copy names.
    pub tablespaces: Vec<Tablespace>,
    /// Installed extensions.
    pub extensions: Vec<Extension>,
    /// Tables by the file of their rows.
    pub tables: BTreeMap<FileName, Table>,
    /// All large objects together.
    pub large_objects: Option<LargeObjects>,
    /// What the copy does not carry.
    pub not_carried: Vec<NotCarried>,
    /// What the planner said and nobody knew.
    pub warnings: Vec<Warning>,
    /// Sums.
    pub end: End,
}

impl Contents {
    /// Bytes of all rows and large objects.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end.bytes + self.large_objects.map_or(0, |objects| objects.bytes)
    }

    /// Reads a copy's inventory and compares it with its entry.
    pub async fn read(copy: &Arc<impl SealedCopy>) -> Result<Self, CopyError> {
        let parts = copy.inventory().await?;
        let key = copy.key().clone();
        let contents = tokio::task::spawn_blocking(move || Self::open(&parts, &key))
            .await
            .map_err(|_| CopyError::Ended)??;
        let (identity, header) = (copy.identity(), &contents.header);
        if header.registry != identity.registry {
            return Err(CopyError::Disagreement("the registry"));
        }
        if header.copy_id != identity.copy_id {
            return Err(CopyError::Disagreement("the copy id"));
        }
        if header.taken_at != identity.taken_at {
            return Err(CopyError::Disagreement("the time"));
        }
        Ok(contents)
    }

    fn open(parts: &[Bytes], key: &CopyKey) -> Result<Self, CopyError> {
        let mut reader = InventoryReader::new(key);
        let mut contents: Option<Self> = None;
        for part in parts {
            let mut lines = reader.part(part.as_ref())?;
            while let Some(line) = lines.next_line()? {
                match (line, &mut contents) {
                    (Line::Header(header), none) => *none = Some(Self::begin(*header)),
                    (line, Some(contents)) => contents.take(line),
                    // The reader lets nothing but a header be first.
                    (_, None) => return Err(CopyError::Ended),
                }
            }
        }
        let end = reader.finish()?;
        let mut contents = contents.ok_or(CopyError::Ended)?;
        contents.end = end;
        Ok(contents)
    }

    fn begin(header: Header) -> Self {
        Self {
            header,
            roles: Vec::new(),
            memberships: Vec::new(),
            settings: Vec::new(),
            tablespaces: Vec::new(),
            extensions: Vec::new(),
            tables: BTreeMap::new(),
            large_objects: None,
            not_carried: Vec::new(),
            warnings: Vec::new(),
            end: End::default(),
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Role(role) => self.roles.push(*role),
            Line::Membership(membership) => self.memberships.push(membership),
            Line::Settings(settings) => self.settings.push(settings),
            Line::Tablespace(tablespace) => self.tablespaces.push(tablespace),
            Line::Extension(extension) => self.extensions.push(extension),
            Line::Table(table) => drop(self.tables.insert(table.file.clone(), *table)),
            Line::LargeObjects(objects) => self.large_objects = Some(objects),
            Line::NotCarried(not_carried) => self.not_carried.push(not_carried),
            Line::Warning(warning) => self.warnings.push(warning),
            // A sequence is restored from the table of contents, which holds the same.
            Line::Header(_) | Line::Sequence(_) | Line::End(_) => {}
        }
    }

    /// The source's major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.header.server.version_number / 10_000
    }

    /// A setting of the source's server.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.header.server.settings.get(name).map(String::as_str)
    }
}
