//! The form of programs that are built with the library (`libhyperscan-dev` or `libvectorscan-dev`): the only file with `unsafe`.

#![allow(unsafe_code, reason = "the library is C; everything unsafe is in this file, behind a safe type")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ptr::{self, NonNull};
use std::sync::Mutex;

use crate::detect::engine::{Engine, EngineError};
use crate::detect::literals::Literal;

/// A compiled database and a pool of scratch space for it.
pub(in crate::detect) struct Hyperscan {
    /// `None` when there is no literal, which the library refuses to compile.
    database: Option<Database>,
    /// Length of each literal in bytes, because the library reports where matches end.
    lengths: Vec<usize>,
    /// One for each scan that runs at the same time; the lock is taken twice for a text of about 1 MiB.
    pool: Mutex<Vec<Scratch>>,
}

struct Database(NonNull<c_void>);

struct Scratch(NonNull<c_void>);

/// What a scan hands to its callback: literal and end offset of each match.
type Ends = Vec<(u32, usize)>;

#[repr(C)]
struct CompileError {
    message: *const c_char,
    expression: c_int,
}

const HS_SUCCESS: c_int = 0;
const HS_FLAG_CASELESS: c_uint = 1;
const HS_MODE_BLOCK: c_uint = 1;

type OnMatch = unsafe extern "C" fn(c_uint, c_ulonglong, c_ulonglong, c_uint, *mut c_void) -> c_int;

#[link(name = "hs")]
unsafe extern "C" {
    fn hs_compile_lit_multi(
        expressions: *const *const c_char,
        flags: *const c_uint,
        ids: *const c_uint,
        lengths: *const usize,
        elements: c_uint,
        mode: c_uint,
        platform: *const c_void,
        database: *mut *mut c_void,
        error: *mut *mut CompileError,
    ) -> c_int;
    fn hs_free_compile_error(error: *mut CompileError) -> c_int;
    fn hs_free_database(database: *mut c_void) -> c_int;
    fn hs_alloc_scratch(database: *const c_void, scratch: *mut *mut c_void) -> c_int;
    fn hs_free_scratch(scratch: *mut c_void) -> c_int;
    fn hs_scan(
        database: *const c_void,
        data: *const c_char,
        length: c_uint,
        flags: c_uint,
        scratch: *mut c_void,
        on_match: OnMatch,
        context: *mut c_void,
    ) -> c_int;
}

// SAFETY: a database is immutable after it was compiled and may be shared by threads (Hyperscan's manual, "Scratch Space").
unsafe impl Send for Database {}
// SAFETY: as above.
unsafe impl Sync for Database {}
// SAFETY: scratch space may move between threads; it is used by one scan at a time, because a scan takes it out of the pool.
unsafe impl Send for Scratch {}

impl Hyperscan {
    pub(in crate::detect) fn try_new(literals: &[Literal]) -> Result<Self, EngineError> {
        let database = if literals.is_empty() { None } else { Some(Database::compile(literals)?) };
        let lengths = literals.iter().map(|literal| literal.text().len()).collect();
        // The first one is made here, so that a refusal comes when the engine is built.
        let pool = database.iter().map(Scratch::try_new).collect::<Result<_, _>>()?;
        Ok(Self { database, lengths, pool: Mutex::new(pool) })
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        // Nothing can fail while the lock is held, and a list of free scratch space is right at any moment.
        self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Engine for Hyperscan {
    fn find(&self, text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        let Some(database) = &self.database else { return };
        let taken = self.pool().pop();
        let scratch = taken.unwrap_or_else(|| Scratch::try_new(database).expect("the first scratch space of this database was made"));
        let mut ends: Ends = Vec::new();
        database.scan(text, &scratch, &mut ends);
        self.pool().push(scratch);
        for (literal, end) in ends {
            let literal = literal as usize;
            found(literal, end - self.lengths[literal]);
        }
    }
}

impl Database {
    fn compile(literals: &[Literal]) -> Result<Self, EngineError> {
        let texts: Vec<*const c_char> = literals.iter().map(|literal| literal.text().as_ptr().cast()).collect();
        let lengths: Vec<usize> = literals.iter().map(|literal| literal.text().len()).collect();
        let flags: Vec<c_uint> = literals.iter().map(|literal| if literal.ignores_case() { HS_FLAG_CASELESS } else { 0 }).collect();
        let ids: Vec<c_uint> = (0..literals.len() as c_uint).collect();
        let (mut database, mut error) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the four arrays have `literals.len()` elements and, like the texts that they point to, outlive the call; texts are given
        // with their length, so they need no terminator; both results point to local variables; no platform means this machine.
        let code = unsafe {
            hs_compile_lit_multi(
                texts.as_ptr(),
                flags.as_ptr(),
                ids.as_ptr(),
                lengths.as_ptr(),
                literals.len() as c_uint,
                HS_MODE_BLOCK,
                ptr::null(),
                &raw mut database,
                &raw mut error,
            )
        };
        match NonNull::new(database) {
            Some(database) if code == HS_SUCCESS => Ok(Self(database)),
            _ => Err(EngineError::Hyperscan(take_message(error, code))),
        }
    }

    fn scan(&self, text: &[u8], scratch: &Scratch, ends: &mut Ends) {
        let length = c_uint::try_from(text.len()).expect("offsets in a block have 32 bits");
        // SAFETY: database and scratch are alive and belong together; the data pointer is valid for `length` bytes; the callback gets
        // `ends`, which nothing else touches during the call.
        let code =
            unsafe { hs_scan(self.0.as_ptr(), text.as_ptr().cast(), length, 0, scratch.0.as_ptr(), on_match, ptr::from_mut(ends).cast()) };
        assert_eq!(code, HS_SUCCESS, "hyperscan cannot fail on valid arguments");
    }
}

/// Called by the library for each match. It does nothing that can panic: when memory runs out, a push aborts the process.
unsafe extern "C" fn on_match(id: c_uint, _from: c_ulonglong, to: c_ulonglong, _flags: c_uint, context: *mut c_void) -> c_int {
    // SAFETY: the context is the `Ends` that `scan` lends for the time of the call.
    let ends = unsafe { &mut *context.cast::<Ends>() };
    ends.push((id, to as usize));
    0
}

/// The library's reason, freed.
fn take_message(error: *mut CompileError, code: c_int) -> String {
    if error.is_null() {
        return format!("error {code}");
    }
    // SAFETY: a compile error that is not null points to a struct with a C string, valid until it is freed below.
    unsafe {
        let message = CStr::from_ptr((*error).message).to_string_lossy().into_owned();
        hs_free_compile_error(error);
        message
    }
}

impl Scratch {
    fn try_new(database: &Database) -> Result<Self, EngineError> {
        let mut scratch = ptr::null_mut();
        // SAFETY: the database is alive, and a null scratch asks for a new one.
        let code = unsafe { hs_alloc_scratch(database.0.as_ptr(), &raw mut scratch) };
        NonNull::new(scratch).filter(|_| code == HS_SUCCESS).map(Self).ok_or_else(|| EngineError::Hyperscan(format!("error {code}")))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the library and is freed once; no scan runs, because a scan borrows the database.
        unsafe { hs_free_database(self.0.as_ptr()) };
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the library and is freed once; no scan uses it, because a scan borrows it.
        unsafe { hs_free_scratch(self.0.as_ptr()) };
    }
}
