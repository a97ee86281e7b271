//! The folders of an archive: those of days, and what lies beside them.

use std::collections::BTreeSet;

use jiff::civil::Date;
use object_store::path::Path as ObjectPath;

use super::Verifier;
use crate::Error;
use crate::erase::statement;
use crate::segment::day_of_folder;

impl Verifier<'_> {
    /// Days that have files or manifests.
    pub(super) async fn days(&self) -> Result<BTreeSet<Date>, Error> {
        let mut days = BTreeSet::new();
        for kind in ["bodies", "records", "manifests", statement::FOLDER] {
            for year in self.folders(&kind.into()).await? {
                for month in self.folders(&year).await? {
                    let folders = self.folders(&month).await?;
                    days.extend(folders.iter().filter_map(|folder| day_of_folder(kind, folder)));
                }
            }
        }
        Ok(days)
    }

    /// A file among segments or records that lies in the folder of no day.
    pub(super) async fn stray(&self) -> Result<Option<String>, Error> {
        for kind in ["bodies", "records"] {
            let mut folders = vec![ObjectPath::from(kind)];
            while let Some(folder) = folders.pop() {
                if day_of_folder(kind, &folder).is_some() {
                    continue;
                }
                let listed = self.objects.list_with_delimiter(Some(&folder)).await?;
                if let Some(file) = listed.objects.first() {
                    return Ok(Some(file.location.to_string()));
                }
                folders.extend(listed.common_prefixes);
            }
        }
        Ok(None)
    }

    async fn folders(&self, below: &ObjectPath) -> Result<Vec<ObjectPath>, Error> {
        Ok(self.objects.list_with_delimiter(Some(below)).await?.common_prefixes)
    }
}
