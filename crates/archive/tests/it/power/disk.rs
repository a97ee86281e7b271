//! A model of a disk that keeps no promise but those of `fsync`.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use super::trace::Event;

/// What a power failure takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing.
    Nothing,
    /// All that was not synced.
    Unsynced,
    /// Bytes that were not synced; names are as they were last.
    Bytes,
    /// Names that were not synced; the bytes of files are as they were last.
    Names,
    /// The second half of the last write.
    HalfWrite,
}

/// Files and names, as the process sees them and as they are safe.
pub(super) struct Disk {
    root: PathBuf,
    files: Vec<File>,
    now: Names,
    safe: Names,
    /// Files that were removed, by the names that they had: whoever had them open may still cut them.
    nameless: BTreeMap<PathBuf, usize>,
    /// What syncs under way will have made safe.
    syncing: BTreeMap<u64, Vec<(usize, Vec<u8>)>>,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Default, Clone)]
struct File {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Where the next write goes.
    at: usize,
}

/// What is found after a power failure.
pub(super) struct State {
    pub(super) loss: Loss,
    root: PathBuf,
    files: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        let (now, safe, files) = (Names::new(), Names::new(), Vec::new());
        let (nameless, syncing) = (BTreeMap::new(), BTreeMap::new());
        Self { root: root.to_owned(), files, now, safe, nameless, syncing }
    }

    /// Lets an event happen; gives what a power failure in it or right after it could leave.
    pub(super) fn states_around(&mut self, event: &Event) -> Vec<State> {
        let mut states = Vec::new();
        if let Event::Wrote { path, bytes } = event {
            let (files, half) = (self.files.clone(), bytes[..bytes.len() / 2].to_vec());
            self.happen(&Event::Wrote { path: path.clone(), bytes: half });
            states.push(self.state(Loss::HalfWrite));
            self.files = files;
        }
        self.happen(event);
        let losses = [Loss::Nothing, Loss::Unsynced, Loss::Bytes, Loss::Names];
        states.extend(losses.map(|loss| self.state(loss)));
        states
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Opened { path, truncates } => {
                self.open(path);
                if *truncates {
                    self.file(path).now.clear();
                }
            }
            Event::Wrote { path, bytes } => {
                let file = self.file(path);
                let end = file.at + bytes.len();
                file.now.resize(file.now.len().max(end), 0);
                file.now[file.at..end].copy_from_slice(bytes);
                file.at = end;
            }
            Event::Sought { path, to } => self.file(path).at = *to,
            Event::Cut { path, length } => self.file(path).now.resize(*length, 0),
            Event::Renamed { from, to } => {
                let node = self.now.remove(from).unwrap();
                self.now.insert(to.clone(), node);
            }
            Event::Linked { from, to } => {
                self.now.insert(to.clone(), self.now[from]);
            }
            Event::Removed { path } => {
                if let Some(Node::File(file)) = self.now.remove(path) {
                    self.nameless.insert(path.clone(), file);
                }
            }
            Event::MadeFolder { path } => drop(self.now.insert(path.clone(), Node::Folder)),
            Event::SyncBegan { path, number } => self.begin_sync(path, *number),
            Event::SyncEnded { number } => {
                for (file, bytes) in self.syncing.remove(number).unwrap_or_default() {
                    self.files[file].safe = bytes;
                }
            }
            Event::Said(_) => {}
        }
    }

    fn open(&mut self, path: &Path) {
        if !self.now.contains_key(path) {
            self.now.insert(path.to_owned(), Node::File(self.files.len()));
            self.files.push(File::default());
        }
        self.file(path).at = 0;
    }

    /// A file's bytes are safe when its sync has ended; a folder's names are taken as soon as its sync
    /// begins, since it is one thread that changes and syncs them.
    fn begin_sync(&mut self, path: &Path, number: u64) {
        if let Some(Node::File(file)) = self.now.get(path) {
            self.syncing.insert(number, vec![(*file, self.files[*file].now.clone())]);
            return;
        }
        let is_in = |name: &PathBuf| name.parent() == Some(path);
        self.safe.retain(|name, _| !is_in(name));
        let entries = self.now.iter().filter(|(name, _)| is_in(name));
        self.safe.extend(entries.map(|(name, node)| (name.clone(), *node)));
    }

    fn file(&mut self, path: &Path) -> &mut File {
        let file = match self.now.get(path) {
            Some(Node::File(file)) => file,
            _ => &self.nameless[path],
        };
        &mut self.files[*file]
    }

    fn state(&self, loss: Loss) -> State {
        let names =
            if matches!(loss, Loss::Unsynced | Loss::Names) { &self.safe } else { &self.now };
        let is_there = |name: &Path| {
            let above = name.ancestors().skip(1).take_while(|above| *above != self.root);
            above.into_iter().all(|above| names.contains_key(above))
        };
        let files = names.iter().filter(|(name, _)| is_there(name)).map(|(name, node)| {
            let bytes = match node {
                Node::Folder => None,
                Node::File(file) if matches!(loss, Loss::Unsynced | Loss::Bytes) => {
                    Some(self.files[*file].safe.clone())
                }
                Node::File(file) => Some(self.files[*file].now.clone()),
            };
            (name.clone(), bytes)
        });
        State { loss, root: self.root.clone(), files: files.collect() }
    }
}

impl State {
    /// Tells states apart.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.files.hash(&mut hasher);
        hasher.finish()
    }

    /// Makes files of it.
    pub(super) fn lay_out(&self, folder: &Path) {
        // Folders sort before what is in them.
        for (name, bytes) in &self.files {
            let path = folder.join(name.strip_prefix(&self.root).unwrap());
            match bytes {
                None => std::fs::create_dir(path).unwrap(),
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
            }
        }
    }
}
