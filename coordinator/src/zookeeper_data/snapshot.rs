//! ZooKeeper's snapshot: sessions, access control lists, znodes parents first, and a checksum over all that.

use super::model::Model;
use super::{Compression, DataError, adler32};
use crate::tree::Tree;
use crate::tree::acl::{Acl, AclList};
use crate::tree::snapshot::RawNode;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::zk::{DecodeError, Reader, Writer};
use std::collections::BTreeMap;
use std::io::Read;

const MAGIC: &[u8] = b"ZKSN";
const VERSION: i32 = 2;
/// ZooKeeper's number for "everyone may do everything", which it does not keep in its table.
const OPEN_UNSAFE: i64 = -1;
/// The first bytes of what Snappy's Java library writes.
const SNAPPY_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

pub(super) fn read(bytes: &[u8], compression: Compression, zxid: i64) -> Result<Model, DataError> {
    let bytes = match compression {
        Compression::None => Bytes::copy_from_slice(bytes),
        Compression::Gzip => {
            let mut plain = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain);
            read.map_err(|error| DataError::Compressed(error.to_string()))?;
            Bytes::from(plain)
        }
        Compression::Snappy => unsnap(bytes)?,
    };
    if bytes.len() < 16 || &bytes[..4] != MAGIC {
        return Err(DataError::Magic("snapshot"));
    }
    let version = (&bytes[4..8]).get_i32();
    if version != VERSION {
        return Err(DataError::Version(version));
    }
    let mut reader = Reader::new(bytes.slice(16..));
    let mut model = Model::default();
    model.zxid = zxid;
    for (session, timeout_ms) in counted(&mut reader, |reader| Ok((reader.long()?, reader.int()?)))? {
        model.sessions.insert(session, timeout_ms);
    }
    let acls: BTreeMap<i64, Vec<Acl>> =
        counted(&mut reader, |reader| Ok((reader.long()?, reader.vector(read_acl)?)))?.into_iter().collect();
    loop {
        let path = reader.required()?;
        if path == "/" {
            break;
        }
        let node = read_node(&mut reader, &acls).map_err(|error| match error {
            DataError::Acl(_) => DataError::Acl(path.clone()),
            other => other,
        })?;
        model.insert(if path.is_empty() { "/".to_owned() } else { path }, node);
    }
    let content = bytes.len() - reader.remaining();
    // Before version 3.5 there was none.
    if reader.remaining() >= 8 {
        let (expected, found) = (reader.long()?.cast_unsigned(), adler32(&bytes[..content]));
        if expected != found {
            return Err(DataError::Checksum { expected, found });
        }
        // What follows (a digest of the tree, and the zxid once more) says nothing new.
    }
    Ok(model)
}

/// A count and that many pairs; memory is taken as they come.
fn counted<T>(reader: &mut Reader, one: impl Fn(&mut Reader) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    reader.vector(|reader| one(reader))
}

pub(super) fn read_acl(reader: &mut Reader) -> Result<Acl, DecodeError> {
    let perms = reader.int()?;
    Ok(Acl { perms, scheme: reader.string()?, id: reader.string()? })
}

fn read_node(reader: &mut Reader, acls: &BTreeMap<i64, Vec<Acl>>) -> Result<RawNode, DataError> {
    let data = reader.buffer()?.map(|data| data.to_vec());
    let acl = match reader.long()? {
        OPEN_UNSAFE => Acl::open(),
        number => acls.get(&number).cloned().ok_or_else(|| DataError::Acl(String::new()))?,
    };
    let (czxid, mzxid, ctime, mtime) = (reader.long()?, reader.long()?, reader.long()?, reader.long()?);
    let (version, cversion, aversion) = (reader.int()?, reader.int()?, reader.int()?);
    let (owner, pzxid) = (reader.long()?, reader.long()?);
    Ok(RawNode { czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner, data, acl })
}

/// Java's stream of Snappy blocks: a header, then lengths and blocks.
fn unsnap(bytes: &[u8]) -> Result<Bytes, DataError> {
    let damaged = |what: &str| DataError::Compressed(what.to_owned());
    let mut rest = bytes.strip_prefix(SNAPPY_MAGIC).ok_or_else(|| damaged("it has no header"))?;
    if rest.len() < 8 {
        return Err(damaged("it ends early"));
    }
    rest.advance(8);
    let mut plain = Vec::new();
    while rest.len() >= 4 {
        let length = rest.get_u32() as usize;
        let (block, after) = rest.split_at_checked(length).ok_or_else(|| damaged("it ends early"))?;
        let block = snap::raw::Decoder::new().decompress_vec(block);
        plain.append(&mut block.map_err(|error| DataError::Compressed(error.to_string()))?);
        rest = after;
    }
    Ok(Bytes::from(plain))
}

/// Everything of the tree, in ZooKeeper's form.
pub(super) fn write(tree: &Tree) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_slice(MAGIC);
    bytes.put_i32(VERSION);
    bytes.put_i64(-1);
    let sessions: Vec<(i64, i32)> = tree.sessions().map(|(id, session)| (id, session.timeout_ms)).collect();
    bytes.put_i32(i32::try_from(sessions.len()).unwrap_or(i32::MAX));
    for (id, timeout_ms) in sessions {
        bytes.put_i64(id);
        bytes.put_i32(timeout_ms);
    }
    let mut numbers: BTreeMap<AclList, i64> = BTreeMap::new();
    let open = Acl::open();
    tree.each_raw(&mut |_, _, acl, _| {
        let next = numbers.len() as i64 + 1;
        if **acl != *open {
            numbers.entry(acl.clone()).or_insert(next);
        }
    });
    bytes.put_i32(i32::try_from(numbers.len()).unwrap_or(i32::MAX));
    for (acl, number) in &numbers {
        bytes.put_i64(*number);
        let mut writer = Writer::new(&mut bytes);
        writer.vector(acl, |writer, acl| {
            writer.int(acl.perms);
            writer.string(&acl.scheme);
            writer.string(&acl.id);
        });
    }
    tree.each_raw(&mut |path, node, acl, data| {
        let mut writer = Writer::new(&mut bytes);
        writer.string(if path == "/" { "" } else { path });
        writer.buffer(data);
        writer.long(numbers.get(acl).copied().unwrap_or(OPEN_UNSAFE));
        for long in [node.czxid, node.mzxid, node.ctime, node.mtime] {
            writer.long(long);
        }
        for int in [node.version, node.cversion, node.aversion] {
            writer.int(int);
        }
        writer.long(node.owner);
        writer.long(node.pzxid);
    });
    Writer::new(&mut bytes).string("/");
    let checksum = adler32(&bytes);
    bytes.put_u64(checksum);
    Writer::new(&mut bytes).string("/");
    bytes.to_vec()
}
