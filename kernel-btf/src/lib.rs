//! A walker of the kernel's type information, for member offsets only.
//!
//! aya keeps BTF members to itself, and rustc emits no CO-RE relocations, so the agent looks offsets up
//! itself. It follows anonymous members and typedefs, and refuses what would make it guess: two
//! structures of one name that disagree, a bit field, a truncated file.
//!
//! Format: include/uapi/linux/btf.h, the same from 5.10 to 7.x.

#[cfg(any(test, feature = "builder"))]
pub mod builder;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
/// `BTF_KIND_STRUCT`.
pub const KIND_STRUCT: u32 = 4;
/// `BTF_KIND_UNION`.
pub const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// Anonymous structures nest a few levels deep; more means that the file is damaged.
const MAX_DEPTH: usize = 16;
/// No name is longer (`KSYM_NAME_LEN` in include/linux/kallsyms.h, 7.x): the rest is not read of one that does not end.
pub const LONGEST_NAME: usize = 512;

/// Why a member's offset is not known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    /// The file could not be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// File.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not BTF or is cut short.
    #[error("not valid BTF: {0}")]
    Malformed(&'static str),
    /// No structure has the name.
    #[error("the kernel has no struct {0}")]
    NoStructure(String),
    /// No path leads to a member.
    #[error("struct {structure} has no member {member}")]
    NoMember {
        /// Structure.
        structure: String,
        /// Dotted path.
        member: String,
    },
    /// Several structures of the name put the member at different places.
    #[error("{count} structs are called {structure} and disagree on {member}")]
    Ambiguous {
        /// Structure.
        structure: String,
        /// Dotted path.
        member: String,
        /// How many.
        count: usize,
    },
    /// The member is a bit field.
    #[error("{structure}.{member} is a bit field")]
    BitField {
        /// Structure.
        structure: String,
        /// Dotted path.
        member: String,
    },
}

/// The types of one BTF file.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Offset in `bytes` of each type, by type id; id 0 is void.
    types: Vec<u32>,
    strings: std::ops::Range<usize>,
    /// Ids of named structures.
    structures: HashMap<Vec<u8>, Vec<u32>>,
}

#[derive(Clone, Copy)]
struct Type {
    offset: usize,
    name: u32,
    kind: u32,
    kind_flag: bool,
    vlen: usize,
    /// The type behind a typedef or qualifier; a size for other kinds.
    target: u32,
}

impl Btf {
    /// Reads a BTF file, `/sys/kernel/btf/vmlinux` as a rule (6 to 10 MB).
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        let bytes = std::fs::read(path).map_err(|e| BtfError::Unreadable {
            path: path.display().to_string(),
            reason: e.to_string(),
        })?;
        Self::parse(bytes)
    }

    /// Indexes BTF bytes.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        if bytes.len() < HEADER_BYTES || u16::from_le_bytes([bytes[0], bytes[1]]) != MAGIC {
            return Err(BtfError::Malformed(
                "no BTF header (or of the other byte order)",
            ));
        }
        let header = |at: usize| word(&bytes, at).map(|w| w as usize);
        let short = BtfError::Malformed("cut short");
        let Some([header_len, type_off, type_len, string_off, string_len]) =
            [header(4), header(8), header(12), header(16), header(20)]
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .and_then(|v| <[usize; 5]>::try_from(v).ok())
        else {
            return Err(short);
        };
        let types_start = header_len + type_off;
        let types_end = types_start + type_len;
        let strings_start = header_len + string_off;
        let strings = strings_start..strings_start + string_len;
        if types_end > bytes.len() || strings.end > bytes.len() {
            return Err(short);
        }

        let mut btf = Self {
            bytes,
            types: vec![0],
            strings,
            structures: HashMap::new(),
        };
        let mut at = types_start;
        while at < types_end {
            let ty = btf.type_at(at).ok_or(BtfError::Malformed("cut short"))?;
            if ty.kind == KIND_STRUCT && ty.name != 0 {
                let id = btf.types.len() as u32;
                let name = btf.string(ty.name).to_vec();
                btf.structures.entry(name).or_default().push(id);
            }
            btf.types.push(at as u32);
            at += 12 + trailing_bytes(&ty).ok_or(BtfError::Malformed("a type of unknown kind"))?;
        }
        Ok(btf)
    }

    /// Byte offset of a member, given as a dotted path, in the structure.
    pub fn offset_of(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let ids = self
            .structures
            .get(structure.as_bytes())
            .ok_or_else(|| BtfError::NoStructure(structure.to_owned()))?;
        let mut found = None;
        for &id in ids {
            let bits = self
                .bits_of_path(id, path)
                .map_err(|()| BtfError::BitField {
                    structure: structure.to_owned(),
                    member: path.to_owned(),
                })?;
            if *found.get_or_insert(bits) != bits {
                return Err(BtfError::Ambiguous {
                    structure: structure.to_owned(),
                    member: path.to_owned(),
                    count: ids.len(),
                });
            }
        }
        let bits = found.flatten().ok_or_else(|| BtfError::NoMember {
            structure: structure.to_owned(),
            member: path.to_owned(),
        })?;
        Ok(bits / 8)
    }

    /// Bytes of a structure; `None` where there is none of this name, or several that differ.
    pub fn size_of(&self, structure: &str) -> Option<u32> {
        /// From the beginning of a `struct btf_type` to its `size`.
        const SIZE: usize = 8;
        let ids = self.structures.get(structure.as_bytes())?;
        let mut sizes = ids
            .iter()
            .map(|&id| word(&self.bytes, *self.types.get(id as usize)? as usize + SIZE));
        let first = sizes.next()??;
        sizes.all(|size| size == Some(first)).then_some(first)
    }

    /// Whether a structure has a member, given as a dotted path.
    pub fn has_member(&self, structure: &str, path: &str) -> bool {
        !matches!(
            self.offset_of(structure, path),
            Err(BtfError::NoStructure(_) | BtfError::NoMember { .. })
        )
    }

    /// The names of a function's parameters; `None` where the kernel does not name the function, because it
    /// is not there or was compiled into its callers.
    pub fn parameters_of(&self, function: &str) -> Option<Vec<&[u8]>> {
        /// Words of `struct btf_type` before the parameters, and of each `struct btf_param`, in bytes.
        const TYPE: usize = 12;
        const PARAMETER: usize = 8;
        let named = self.types.iter().skip(1).find_map(|&offset| {
            let ty = self.type_at(offset as usize)?;
            let is = ty.kind == KIND_FUNC && self.string(ty.name) == function.as_bytes();
            is.then_some(ty)
        })?;
        let prototype = self.resolve(named.target)?;
        if prototype.kind != KIND_FUNC_PROTO {
            return None;
        }
        (0..prototype.vlen)
            .map(|index| word(&self.bytes, prototype.offset + TYPE + index * PARAMETER))
            .map(|name| name.map(|name| self.string(name)))
            .collect()
    }

    fn bits_of_path(&self, id: u32, path: &str) -> Result<Option<u32>, ()> {
        let mut id = id;
        let mut bits = 0_u32;
        for name in path.split('.') {
            let found = self.find(id, name.as_bytes(), MAX_DEPTH, &mut HashSet::new())?;
            let Some((more, member_type)) = found else {
                return Ok(None);
            };
            // A place beyond all structures is a damaged file's.
            let Some(sum) = bits.checked_add(more) else {
                return Ok(None);
            };
            (bits, id) = (sum, member_type);
        }
        Ok(Some(bits))
    }

    /// Bit offset and type of a direct member, or of one inside anonymous members. `seen` has the structures that
    /// were looked through in vain: in a damaged file each may be many times in the next.
    fn find(
        &self,
        id: u32,
        name: &[u8],
        depth: usize,
        seen: &mut HashSet<usize>,
    ) -> Result<Option<(u32, u32)>, ()> {
        let Some(ty) = self.resolve(id) else {
            return Ok(None);
        };
        let is_composite = matches!(ty.kind, KIND_STRUCT | KIND_UNION);
        if depth == 0 || !is_composite || !seen.insert(ty.offset) {
            return Ok(None);
        }
        for index in 0..ty.vlen {
            let at = ty.offset + 12 + index * 12;
            let (Some(member_name), Some(member_type), Some(offset)) = (
                word(&self.bytes, at),
                word(&self.bytes, at + 4),
                word(&self.bytes, at + 8),
            ) else {
                return Ok(None);
            };
            let (bits, width) = if ty.kind_flag {
                (offset & 0x00ff_ffff, offset >> 24)
            } else {
                (offset, 0)
            };
            if member_name == 0 {
                if let Some((inner, found)) = self.find(member_type, name, depth - 1, seen)? {
                    return Ok(bits.checked_add(inner).map(|sum| (sum, found)));
                }
            } else if self.string(member_name) == name {
                return if width == 0 && bits % 8 == 0 {
                    Ok(Some((bits, member_type)))
                } else {
                    Err(())
                };
            }
        }
        Ok(None)
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            let ty = self.type_at(*self.types.get(id as usize)? as usize)?;
            match ty.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = ty.target;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    fn type_at(&self, offset: usize) -> Option<Type> {
        let info = word(&self.bytes, offset + 4)?;
        Some(Type {
            offset,
            name: word(&self.bytes, offset)?,
            kind: (info >> 24) & 0x1f,
            kind_flag: info >> 31 == 1,
            vlen: (info & 0xffff) as usize,
            target: word(&self.bytes, offset + 8)?,
        })
    }

    fn string(&self, offset: u32) -> &[u8] {
        let strings = &self.bytes[self.strings.clone()];
        let tail = strings.get(offset as usize..).unwrap_or_default();
        let tail = &tail[..tail.len().min(LONGEST_NAME)];
        tail.split(|&b| b == 0).next().unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_le_bytes)
}

/// What follows a type's 12 bytes, by kind.
fn trailing_bytes(ty: &Type) -> Option<usize> {
    Some(match ty.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_ENUM64 | KIND_DATASEC => 12 * ty.vlen,
        KIND_ENUM | KIND_FUNC_PROTO => 8 * ty.vlen,
        // Pointer, forward, typedef, qualifiers, function, float, type tag.
        2 | 7..=12 | 16 | KIND_TYPE_TAG => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{builder::Builder, *};

    fn parsed() -> Btf {
        Btf::parse(builder::sample()).unwrap()
    }

    #[test]
    fn members_are_found_directly_nested_and_inside_anonymous_unions() {
        let btf = parsed();
        assert_eq!(btf.offset_of("task", "pid"), Ok(4));
        assert_eq!(btf.offset_of("task", "other"), Ok(20));
        assert_eq!(btf.offset_of("task", "info.delay"), Ok(40));
        assert_eq!(btf.offset_of("flags", "whole"), Ok(4));
    }

    #[test]
    fn functions_are_found_with_their_parameters() {
        let btf = parsed();
        assert_eq!(
            btf.parameters_of("update"),
            Some(vec![b"owner".as_slice(), b"flags"])
        );
        assert_eq!(btf.parameters_of("inlined"), None);
        assert!(btf.has_member("flags", "bit"));
        assert!(!btf.has_member("task", "gone") && !btf.has_member("gone", "pid"));
    }

    #[test]
    fn what_would_be_a_guess_is_refused() {
        let btf = parsed();
        assert!(matches!(
            btf.offset_of("twin", "x"),
            Err(BtfError::Ambiguous { count: 2, .. })
        ));
        assert!(matches!(
            btf.offset_of("flags", "bit"),
            Err(BtfError::BitField { .. })
        ));
        assert!(matches!(
            btf.offset_of("task", "gone"),
            Err(BtfError::NoMember { .. })
        ));
        assert_eq!(
            btf.offset_of("nothing", "x"),
            Err(BtfError::NoStructure("nothing".into()))
        );
    }

    #[test]
    fn damaged_files_are_errors_not_panics() {
        let mut b = Builder::new();
        b.composite(KIND_STRUCT, "task", false, &[("pid", 1, 32)]);
        let bytes = b.build();
        for length in 0..bytes.len() {
            let _either = Btf::parse(bytes[..length].to_vec()).map(|b| b.offset_of("task", "pid"));
        }
        assert!(Btf::parse(b"ELF, not BTF, and long enough to hold a header".to_vec()).is_err());
    }

    #[test]
    fn a_place_beyond_all_structures_is_none() {
        let mut b = Builder::new();
        b.int("int", 4); // 1
        b.composite(KIND_UNION, "", false, &[("x", 1, 8)]); // 2
        let members = [("", 2, u32::MAX - 7), ("far", 2, u32::MAX - 7)];
        b.composite(KIND_STRUCT, "task", false, &members);
        let btf = Btf::parse(b.build()).unwrap();
        for path in ["x", "far.x"] {
            let found = btf.offset_of("task", path);
            assert!(
                matches!(found, Err(BtfError::NoMember { .. })),
                "{path}: {found:?}"
            );
        }
    }

    /// Looked through again at each place, they would be looked through 8^15 times.
    #[test]
    fn a_structure_within_itself_is_looked_through_once() {
        let mut b = Builder::new();
        b.composite(KIND_UNION, "", false, &[("", 1, 0); 8]); // 1
        b.composite(KIND_STRUCT, "task", false, &[("", 1, 0)]);
        let btf = Btf::parse(b.build()).unwrap();
        assert!(!btf.has_member("task", "x"));
    }

    #[test]
    fn a_name_that_does_not_end_is_not_kept_whole() {
        let mut b = Builder::new();
        b.composite(KIND_STRUCT, &"x".repeat(1 << 16), false, &[]);
        let btf = Btf::parse(b.build()).unwrap();
        let longest = btf.structures.keys().map(Vec::len).max();
        assert_eq!(longest, Some(LONGEST_NAME));
    }
}
