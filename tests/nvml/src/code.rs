//! Return codes by number and by name, so that a scenario can say `GPU_IS_LOST`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An `nvmlReturn_t`; in a scenario the name without `NVML_ERROR_`, or the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Code(pub u32);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    Number(u32),
}

macro_rules! codes {
    ($($name:ident = $number:literal,)*) => {
        #[expect(missing_docs, reason = "named and explained in nvml.h")]
        impl Code {
            $(pub const $name: Self = Self($number);)*
        }

        const NAMES: &[(&str, Code)] = &[$((stringify!($name), Code::$name),)*];
    };
}

codes! {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    ALREADY_INITIALIZED = 5,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    INSUFFICIENT_POWER = 8,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    IRQ_ISSUE = 11,
    LIBRARY_NOT_FOUND = 12,
    FUNCTION_NOT_FOUND = 13,
    CORRUPTED_INFOROM = 14,
    GPU_IS_LOST = 15,
    RESET_REQUIRED = 16,
    OPERATING_SYSTEM = 17,
    LIB_RM_VERSION_MISMATCH = 18,
    IN_USE = 19,
    MEMORY = 20,
    NO_DATA = 21,
    VGPU_ECC_NOT_SUPPORTED = 22,
    INSUFFICIENT_RESOURCES = 23,
    FREQ_NOT_SUPPORTED = 24,
    ARGUMENT_VERSION_MISMATCH = 25,
    DEPRECATED = 26,
    NOT_READY = 27,
    GPU_NOT_FOUND = 28,
    INVALID_STATE = 29,
    RESET_TYPE_NOT_SUPPORTED = 30,
    UNKNOWN = 999,
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, code)| code == self) {
            Some((name, _)) => formatter.write_str(name),
            None => write!(formatter, "{}", self.0),
        }
    }
}

impl TryFrom<Written> for Code {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(number) => Ok(Self(number)),
            Written::Name(text) => NAMES
                .iter()
                .find(|(name, _)| *name == text)
                .map(|(_, code)| *code)
                .ok_or_else(|| format!("no return code is called {text}")),
        }
    }
}

impl From<Code> for Written {
    fn from(code: Code) -> Self {
        match NAMES.iter().find(|(_, known)| *known == code) {
            Some((name, _)) => Self::Name((*name).to_owned()),
            None => Self::Number(code.0),
        }
    }
}
