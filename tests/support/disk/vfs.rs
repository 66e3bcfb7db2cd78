//! The C side: SQLite's calls, turned into those of a [`State`]. All that is unsafe about a disk is here.
//!
//! SQLite looks a VFS up by name and keeps its address, so the structures live for ever; a disk claims one
//! of them and gives it back when its last handle is closed.

use super::Shared;
use super::medium::FileId;
use super::state::{Refused, State};
use rusqlite::ffi::{self, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_vfs};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic};
use std::time::Duration;

/// Locks of a write-ahead log's shared memory.
const N_LOCKS: usize = ffi::SQLITE_SHM_NLOCK as usize;
/// Characters of a file's name.
const NAME_MAX: c_int = 512;
/// Between two looks at a lock that another thread holds.
const LOCK_WAIT: Duration = Duration::from_micros(100);
/// The first instant of 2025 in SQLite's milliseconds of the Julian day: this disk has no clock.
const NOW: i64 = 212_602_579_200_000;

/// A VFS that a disk may claim.
pub(super) struct Slot {
    name: String,
    disk: Mutex<Weak<Shared>>,
}

static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());
static N_SLOTS: Mutex<usize> = Mutex::new(0);

impl Slot {
    /// A free one, or a new one.
    pub(super) fn claim(disk: Weak<Shared>) -> &'static Self {
        let free = lock(&FREE).pop();
        let slot = free.unwrap_or_else(Self::register);
        *lock(&slot.disk) = disk;
        slot
    }

    pub(super) fn release(&'static self) {
        lock(&FREE).push(self);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn register() -> &'static Self {
        let number = {
            let mut n_slots = lock(&N_SLOTS);
            *n_slots += 1;
            *n_slots
        };
        let name = format!("disk-{number}");
        let c_name = CString::new(name.clone()).unwrap();
        let slot: &'static Self = Box::leak(Box::new(Self { name, disk: Mutex::default() }));
        let vfs = Box::leak(Box::new(sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<OpenFile>()).unwrap(),
            mxPathname: NAME_MAX,
            pNext: ptr::null_mut(),
            zName: c_name.into_raw(),
            pAppData: ptr::from_ref(slot).cast_mut().cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_name),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: Some(current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the structure is complete and, like its name and the slot, never freed.
        let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite takes the VFS");
        slot
    }
}

/// The whole database as a connection sees it now, page by page; `None` if it can't be read.
pub fn contents(conn: &rusqlite::Connection) -> Option<Vec<u8>> {
    let mut len: sqlite3_int64 = 0;
    // SAFETY: the connection is open, SQLite allocates the copy and gives its length, and it is freed once.
    unsafe {
        let bytes = ffi::sqlite3_serialize(conn.handle(), c"main".as_ptr(), &raw mut len, 0);
        if bytes.is_null() {
            return None;
        }
        let copy = std::slice::from_raw_parts(bytes, size(len)).to_vec();
        ffi::sqlite3_free(bytes.cast());
        Some(copy)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece of shared memory, in the layout that SQLite chooses.
struct Region(*mut [u64]);

// SAFETY: it is memory without an owner; SQLite orders the accesses to it by its locks and barriers.
unsafe impl Send for Region {}
// SAFETY: as above; nothing but SQLite looks into it.
unsafe impl Sync for Region {}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box and nobody has it any more: the last handle is gone.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// The shared memory beside a database, as long as a connection has it mapped.
#[derive(Default)]
pub(super) struct Memory {
    regions: Mutex<Vec<Region>>,
    locks: Mutex<[(bool, u32); N_LOCKS]>,
}

pub(super) type Memories = Mutex<BTreeMap<FileId, Weak<Memory>>>;

/// What SQLite allocates for an open file.
#[repr(C)]
struct OpenFile {
    base: sqlite3_file,
    handle: *mut Handle,
}

struct Handle {
    shared: Arc<Shared>,
    file: FileId,
    number: u64,
    life: u64,
    /// Whether its first sync also syncs the folder, as it does for a new journal.
    is_new: bool,
    /// To be deleted when it is closed.
    passing: Option<String>,
    memory: Option<Arc<Memory>>,
    /// Which of the memory's locks are held, exclusively or shared.
    exclusive: [bool; N_LOCKS],
    reading: [bool; N_LOCKS],
}

impl Handle {
    /// The disk, unless the program that opened this file was killed.
    fn disk(&self) -> Result<MutexGuard<'_, State>, Refused> {
        let state = lock(&self.shared.state);
        if state.life == self.life { Ok(state) } else { Err(ffi::SQLITE_IOERR) }
    }

    fn map(&mut self, nth: usize, size: usize, may_grow: bool) -> Result<*mut c_void, Refused> {
        drop(self.disk()?);
        let memory = self.memory.get_or_insert_with(|| {
            let mut memories = lock(&self.shared.memories);
            let there = memories.get(&self.file).and_then(Weak::upgrade);
            there.unwrap_or_else(|| {
                let new = Arc::<Memory>::default();
                memories.insert(self.file, Arc::downgrade(&new));
                new
            })
        });
        let mut regions = lock(&memory.regions);
        while may_grow && regions.len() <= nth {
            regions.push(Region(Box::into_raw(vec![0_u64; size.div_ceil(8)].into_boxed_slice())));
        }
        Ok(regions.get(nth).map_or(ptr::null_mut(), |region| region.0.cast()))
    }

    fn lock_memory(&mut self, first: usize, n: usize, flags: c_int) -> Result<(), Refused> {
        drop(self.disk()?);
        let memory = self.memory.clone().ok_or(ffi::SQLITE_IOERR)?;
        let mut locks = lock(&memory.locks);
        let is_exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
        if flags & ffi::SQLITE_SHM_LOCK != 0 {
            let is_taken = (first..first + n).any(|nth| {
                let (is_exclusively, n_reading) = locks[nth];
                let n_others = n_reading - u32::from(self.reading[nth]);
                (is_exclusively && !self.exclusive[nth]) || (is_exclusive && n_others > 0)
            });
            if is_taken {
                return Err(ffi::SQLITE_BUSY);
            }
        }
        for nth in first..first + n {
            let is_held = flags & ffi::SQLITE_SHM_LOCK != 0;
            if is_exclusive {
                self.exclusive[nth] = is_held;
                locks[nth].0 = is_held;
            } else if self.reading[nth] != is_held {
                self.reading[nth] = is_held;
                locks[nth].1 = if is_held { locks[nth].1 + 1 } else { locks[nth].1 - 1 };
            }
        }
        Ok(())
    }

    fn unmap(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        let mut locks = lock(&memory.locks);
        for (nth, (is_exclusively, n_reading)) in locks.iter_mut().enumerate() {
            *is_exclusively &= !std::mem::take(&mut self.exclusive[nth]);
            *n_reading -= u32::from(std::mem::take(&mut self.reading[nth]));
        }
    }
}

/// The handle that SQLite was given for a file.
///
/// # Safety
/// `file` was opened by [`open`] and isn't closed; one thread at a time uses it.
unsafe fn handle<'a>(file: *mut sqlite3_file) -> &'a mut Handle {
    // SAFETY: the caller promises that `open` has filled in the structure.
    unsafe { &mut *(*file.cast::<OpenFile>()).handle }
}

/// The disk that has claimed a VFS.
///
/// # Safety
/// `vfs` was registered by [`Slot::register`].
unsafe fn disk(vfs: *mut sqlite3_vfs) -> Result<Arc<Shared>, Refused> {
    // SAFETY: `pAppData` is a slot, which lives for ever.
    let slot: &Slot = unsafe { &*(*vfs).pAppData.cast() };
    lock(&slot.disk).upgrade().ok_or(ffi::SQLITE_CANTOPEN)
}

/// A name that SQLite gave.
///
/// # Safety
/// `name` is null or ends with a NUL.
unsafe fn text(name: *const c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) });
    name.map(|name| name.to_string_lossy().into_owned())
}

fn code(outcome: Result<(), Refused>) -> c_int {
    outcome.err().unwrap_or(ffi::SQLITE_OK)
}

fn size(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(0)
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(map),
    xShmLock: Some(lock_memory),
    xShmBarrier: Some(barrier),
    xShmUnmap: Some(unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite calls with this VFS, a name or null, and room for an `OpenFile`.
    unsafe {
        (*file).pMethods = ptr::null();
        let (shared, name) = match disk(vfs) {
            Ok(shared) => (shared, text(name)),
            Err(refused) => return refused,
        };
        let may_make = flags & ffi::SQLITE_OPEN_CREATE != 0;
        let journals =
            ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
        let mut state = lock(&shared.state);
        let opened = match state.open(name.as_deref(), may_make) {
            Ok(opened) => opened,
            Err(refused) => return refused,
        };
        let (number, life) = (state.handle(), state.life);
        drop(state);
        let handle = Handle {
            shared,
            file: opened,
            number,
            life,
            is_new: may_make && flags & journals != 0,
            passing: name.filter(|_| flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0),
            memory: None,
            exclusive: [false; N_LOCKS],
            reading: [false; N_LOCKS],
        };
        (*file.cast::<OpenFile>()).handle = Box::into_raw(Box::new(handle));
        (*file).pMethods = &raw const METHODS;
        if !flags_out.is_null() {
            *flags_out = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once.
    let mut handle = unsafe { Box::from_raw((*file.cast::<OpenFile>()).handle) };
    handle.unmap();
    if let Ok(mut state) = handle.disk() {
        state.unlock(handle.file, handle.number, ffi::SQLITE_LOCK_NONE);
        if let Some(name) = &handle.passing {
            // It may have been deleted already.
            let _gone = state.delete(name, false);
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    into: *mut c_void,
    n: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite gives an open file and room for `n` bytes.
    let (handle, into) =
        unsafe { (handle(file), std::slice::from_raw_parts_mut(into.cast::<u8>(), size(n))) };
    match handle.disk().and_then(|mut state| state.read(handle.file, size(offset), into)) {
        Ok(n_read) if n_read == into.len() => ffi::SQLITE_OK,
        Ok(_) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(refused) => refused,
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    n: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite gives an open file and `n` bytes.
    let (handle, bytes) =
        unsafe { (handle(file), std::slice::from_raw_parts(bytes.cast::<u8>(), size(n))) };
    code(handle.disk().and_then(|mut state| state.write(handle.file, size(offset), bytes)))
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, len: sqlite3_int64) -> c_int {
    // SAFETY: SQLite gives an open file.
    let handle = unsafe { handle(file) };
    code(handle.disk().and_then(|mut state| state.truncate(handle.file, size(len))))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let handle = unsafe { handle(file) };
    let outcome = handle.disk().and_then(|mut state| state.sync(handle.file, handle.is_new));
    handle.is_new &= outcome.is_err();
    code(outcome)
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, len: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the answer.
    let (handle, len) = unsafe { (handle(file), &mut *len) };
    code(handle.disk().map(|state| *len = i64::try_from(state.len(handle.file)).unwrap_or(0)))
}

unsafe extern "C" fn lock_file(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let handle = unsafe { handle(file) };
    code(handle.disk().and_then(|mut state| state.lock(handle.file, handle.number, level)))
}

unsafe extern "C" fn unlock_file(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let handle = unsafe { handle(file) };
    code(handle.disk().map(|mut state| state.unlock(handle.file, handle.number, level)))
}

unsafe extern "C" fn check_reserved(file: *mut sqlite3_file, is_reserved: *mut c_int) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the answer.
    let (handle, is_reserved) = unsafe { (handle(file), &mut *is_reserved) };
    code(handle.disk().map(|state| *is_reserved = c_int::from(state.is_reserved(handle.file))))
}

unsafe extern "C" fn control(_file: *mut sqlite3_file, _op: c_int, _arg: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// What SQLite says of every Unix file.
unsafe extern "C" fn sector_size(_file: *mut sqlite3_file) -> c_int {
    4096
}

/// What SQLite says of every Unix file: bytes outside of a write are never harmed.
unsafe extern "C" fn characteristics(_file: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn map(
    file: *mut sqlite3_file,
    nth: c_int,
    n_bytes: c_int,
    may_grow: c_int,
    at: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the answer.
    let (handle, at) = unsafe { (handle(file), &mut *at) };
    *at = ptr::null_mut();
    code(handle.map(size(nth), size(n_bytes), may_grow != 0).map(|region| *at = region))
}

unsafe extern "C" fn lock_memory(
    file: *mut sqlite3_file,
    first: c_int,
    n: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: SQLite gives an open file.
    let handle = unsafe { handle(file) };
    code(handle.lock_memory(size(first), size(n), flags))
}

unsafe extern "C" fn barrier(_file: *mut sqlite3_file) {
    atomic::fence(atomic::Ordering::SeqCst);
}

unsafe extern "C" fn unmap(file: *mut sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    unsafe { handle(file) }.unmap();
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    sync_folder: c_int,
) -> c_int {
    // SAFETY: SQLite calls with this VFS and a name.
    let (disk, name) = unsafe { (disk(vfs), text(name).unwrap_or_default()) };
    code(disk.and_then(|disk| lock(&disk.state).delete(&name, sync_folder != 0)))
}

unsafe extern "C" fn access(
    vfs: *mut sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    exists: *mut c_int,
) -> c_int {
    // SAFETY: SQLite calls with this VFS, a name and a place for the answer.
    let (disk, name, exists) = unsafe { (disk(vfs), text(name).unwrap_or_default(), &mut *exists) };
    code(disk.map(|disk| *exists = c_int::from(lock(&disk.state).exists(&name))))
}

unsafe extern "C" fn full_name(
    _vfs: *mut sqlite3_vfs,
    name: *const c_char,
    n: c_int,
    into: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a name and room for `n` bytes.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if name.len() > size(n) {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(name.as_ptr().cast(), into, name.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_vfs: *mut sqlite3_vfs, n: c_int, into: *mut c_char) -> c_int {
    // SAFETY: SQLite gives room for `n` bytes.
    unsafe { ptr::write_bytes(into, 0, size(n)) };
    n
}

/// For another thread's lock. None is held for long where no disk turns.
unsafe extern "C" fn sleep(_vfs: *mut sqlite3_vfs, micros: c_int) -> c_int {
    std::thread::sleep(LOCK_WAIT);
    micros
}

unsafe extern "C" fn current_time(_vfs: *mut sqlite3_vfs, now: *mut f64) -> c_int {
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *now = 2_460_676.5 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_int64(_vfs: *mut sqlite3_vfs, now: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite gives a place for the answer.
    unsafe { *now = NOW };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_vfs: *mut sqlite3_vfs, _n: c_int, _into: *mut c_char) -> c_int {
    0
}
