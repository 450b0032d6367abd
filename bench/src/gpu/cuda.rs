//! The few functions of the CUDA driver that keep a GPU busy, from the driver's own library.
//!
//! Only a driver is needed, no toolkit: it compiles the kernel for the GPU at hand. Types and numbers
//! are those of the public `cuda.h`.

#![expect(unsafe_code, reason = "the driver's C interface")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use libloading::Library;

/// The driver's library for programs.
pub(super) const LIBRARY: &str = "libcuda.so.1";
/// The driver's library for observers.
pub(super) const NVML: &str = "libnvidia-ml.so.1";

/// Where installations put the driver's libraries that the dynamic linker is not told of.
const FOLDERS: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib64",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
];

/// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`.
const MULTIPROCESSOR_COUNT: c_int = 16;
/// `CU_CTX_SCHED_BLOCKING_SYNC`: who waits for the GPU leaves the CPU to others.
const BLOCKING_SYNC: c_uint = 4;
/// Text, which the driver expects to end with a zero byte.
const KERNELS: &str = concat!(include_str!("kernels.ptx"), "\0");

type Status = c_int;
type Pointer = *mut c_void;

/// Loads a library by its name, or from where drivers are installed.
pub(super) fn open(name: &str) -> Result<Library> {
    let elsewhere = FOLDERS.map(|folder| Path::new(folder).join(name));
    let places = std::iter::once(Path::new(name).to_owned())
        .chain(elsewhere.into_iter().filter(|path| path.is_file()));
    let mut first = None;
    for place in places {
        // SAFETY: the driver's libraries may be loaded at any time; loading starts nothing.
        match unsafe { Library::new(place) } {
            Ok(library) => return Ok(library),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let error = first.context("there is no place to look at")?;
    Err(error).with_context(|| {
        let folders = FOLDERS.join(", ");
        format!("there is no {name}, neither by its name nor in {folders}: install NVIDIA's driver")
    })
}

/// A context on a GPU with the kernels loaded. It ends with the process.
pub(super) struct Gpu {
    functions: Functions,
    spin: Pointer,
    fault: Pointer,
    multiprocessors: c_uint,
}

impl Gpu {
    /// Makes a context on the first GPU that the process may see.
    pub(super) fn open() -> Result<Self> {
        let functions = Functions::load(open(LIBRARY)?)?;
        let (mut device, mut multiprocessors) = (0, 0);
        let (mut context, mut module) = (ptr::null_mut(), ptr::null_mut());
        let (mut spin, mut fault) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the order that the driver asks for, with places of the right types for what it
        // returns; the text of the kernels and their names end with a zero byte.
        unsafe {
            functions.check("cuInit", (functions.init)(0))?;
            functions.check("cuDeviceGet", (functions.device_get)(&raw mut device, 0))?;
            functions.check(
                "cuDeviceGetAttribute",
                (functions.device_attribute)(
                    &raw mut multiprocessors,
                    MULTIPROCESSOR_COUNT,
                    device,
                ),
            )?;
            functions.check(
                "cuCtxCreate_v2",
                (functions.context_create)(&raw mut context, BLOCKING_SYNC, device),
            )?;
            functions.check(
                "cuModuleLoadData",
                (functions.module_load)(&raw mut module, KERNELS.as_ptr().cast()),
            )?;
            functions.check(
                "cuModuleGetFunction",
                (functions.module_function)(&raw mut spin, module, c"spin".as_ptr()),
            )?;
            functions.check(
                "cuModuleGetFunction",
                (functions.module_function)(&raw mut fault, module, c"fault".as_ptr()),
            )?;
        }
        Ok(Self {
            functions,
            spin,
            fault,
            multiprocessors: multiprocessors.max(1) as c_uint,
        })
    }

    /// Takes this much of the GPU's memory until the process ends.
    pub(super) fn allocate(&self, bytes: usize) -> Result<()> {
        let mut address = 0_u64;
        // SAFETY: a place for the address.
        let status = unsafe { (self.functions.memory_allocate)(&raw mut address, bytes) };
        self.functions.check("cuMemAlloc_v2", status)
    }

    /// Queues a kernel that keeps every multiprocessor busy for this long; at once, unless the driver's
    /// queue is full.
    pub(super) fn launch(&self, duration: Duration) -> Result<()> {
        let mut nanoseconds = duration.as_nanos() as u64;
        let mut parameters = [(&raw mut nanoseconds).cast::<c_void>()];
        // SAFETY: the kernel has one parameter of 64 bits, which the driver copies before it returns.
        unsafe { self.queue(self.spin, self.multiprocessors, 32, &mut parameters) }
    }

    /// Queues a kernel of one thread that writes where nothing is mapped; what comes of it is an error of
    /// [`Self::synchronize`], and the context is of no more use.
    pub(super) fn launch_fault(&self) -> Result<()> {
        // SAFETY: the kernel has no parameters.
        unsafe { self.queue(self.fault, 1, 1, &mut []) }
    }

    /// Queues a kernel of so many blocks of so many threads.
    ///
    /// # Safety
    /// The parameters are those of the kernel.
    unsafe fn queue(
        &self,
        kernel: Pointer,
        blocks: c_uint,
        threads: c_uint,
        parameters: &mut [Pointer],
    ) -> Result<()> {
        // SAFETY: the caller has the right parameters; shared memory, stream and options are none.
        let status = unsafe {
            (self.functions.launch)(
                kernel,
                blocks,
                1,
                1,
                threads,
                1,
                1,
                0,
                ptr::null_mut(),
                parameters.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        self.functions.check("cuLaunchKernel", status)
    }

    /// Waits for everything queued.
    pub(super) fn synchronize(&self) -> Result<()> {
        // SAFETY: it waits for the context of this thread.
        let status = unsafe { (self.functions.synchronize)() };
        self.functions.check("cuCtxSynchronize", status)
    }
}

/// The functions, which stay valid as long as the library is loaded.
struct Functions {
    init: unsafe extern "C" fn(c_uint) -> Status,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    device_attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Status,
    context_create: unsafe extern "C" fn(*mut Pointer, c_uint, c_int) -> Status,
    module_load: unsafe extern "C" fn(*mut Pointer, *const c_void) -> Status,
    module_function: unsafe extern "C" fn(*mut Pointer, Pointer, *const c_char) -> Status,
    memory_allocate: unsafe extern "C" fn(*mut u64, usize) -> Status,
    launch: unsafe extern "C" fn(
        Pointer,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        Pointer,
        *mut Pointer,
        *mut Pointer,
    ) -> Status,
    synchronize: unsafe extern "C" fn() -> Status,
    error_name: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,
    _library: Library,
}

impl Functions {
    fn load(library: Library) -> Result<Self> {
        // SAFETY: each field has the type that `cuda.h` declares for the function of this name.
        unsafe {
            Ok(Self {
                init: symbol(&library, "cuInit")?,
                device_get: symbol(&library, "cuDeviceGet")?,
                device_attribute: symbol(&library, "cuDeviceGetAttribute")?,
                context_create: symbol(&library, "cuCtxCreate_v2")?,
                module_load: symbol(&library, "cuModuleLoadData")?,
                module_function: symbol(&library, "cuModuleGetFunction")?,
                memory_allocate: symbol(&library, "cuMemAlloc_v2")?,
                launch: symbol(&library, "cuLaunchKernel")?,
                synchronize: symbol(&library, "cuCtxSynchronize")?,
                error_name: symbol(&library, "cuGetErrorName")?,
                _library: library,
            })
        }
    }

    fn check(&self, function: &str, status: Status) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        let mut name = ptr::null();
        // SAFETY: a place for the name, which is a constant of the library.
        let known = unsafe { (self.error_name)(status, &raw mut name) } == 0 && !name.is_null();
        let name = if known {
            // SAFETY: the driver has said that it knows the number, so this is its name.
            unsafe { CStr::from_ptr(name) }.to_string_lossy()
        } else {
            "a number that the driver has no name for".into()
        };
        bail!("{function} failed with CUresult {status}: {name}")
    }
}

/// A function of the library.
///
/// # Safety
/// `T` is the function's type.
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T> {
    // SAFETY: the caller knows the type.
    unsafe { library.get::<T>(name.as_bytes()) }
        .map(|symbol| *symbol)
        .with_context(|| format!("{LIBRARY} has no {name}: the driver is too old for this test"))
}

#[cfg(test)]
mod tests {
    use super::{KERNELS, open};

    #[test]
    fn a_library_that_is_not_there_is_named_with_the_remedy() {
        let error = open("libno-such-driver.so.1").unwrap_err().to_string();
        assert!(error.contains("no libno-such-driver.so.1"), "{error}");
        assert!(error.contains("install NVIDIA's driver"), "{error}");
    }

    #[test]
    fn the_kernels_are_one_string_of_c() {
        assert_eq!(KERNELS.find('\0'), Some(KERNELS.len() - 1));
        assert!(KERNELS.contains(".entry spin(") && KERNELS.contains(".entry fault("));
    }
}
