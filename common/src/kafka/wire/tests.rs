//! Tests of the primitives: numbers at their edges, bounds, and frames that leave file content in files.

use std::sync::Arc;

use super::*;
use crate::disk::DiskFile;
use crate::kafka::header::{decode_response, encode_response};
use crate::kafka::messages::fetch::PartitionData;
use crate::kafka::messages::{FetchRequest, FetchResponse, FetchableTopicResponse, Message, ProduceRequest};

#[derive(Debug)]
struct MemoryFile(Vec<u8>);

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let rest = &self.0[position as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn write_at(&self, _bytes: &[u8], _position: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn as_file(&self) -> Option<&std::fs::File> {
        None
    }
}

#[test]
fn varints_hold_their_whole_range() {
    for value in [0, 1, -1, 63, -64, 64, 300, i32::MAX, i32::MIN] {
        let mut writer = Writer::new();
        writer.put_varint(value);
        writer.put_uvarint(value as u32);
        writer.put_varlong(i64::from(value) << 31);
        let mut reader = Reader::new(writer.finish().unwrap().into_bytes().unwrap());
        assert_eq!(reader.get_varint(), Ok(value));
        assert_eq!(reader.get_uvarint(), Ok(value as u32));
        assert_eq!(reader.get_varlong(), Ok(i64::from(value) << 31));
        assert_eq!(reader.remaining(), 0);
    }
    let too_long = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes));
    assert_eq!(too_long(b"\xff\xff\xff\xff\x1f").get_uvarint(), Err(DecodeError::VarintTooLong));
    assert_eq!(too_long(b"\x80\x80\x80\x80\x80\x00").get_uvarint(), Err(DecodeError::VarintTooLong));
    assert_eq!(too_long(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02").get_varlong(), Err(DecodeError::VarintTooLong));
}

#[test]
fn lengths_are_bounded_by_what_is_left() {
    let reader = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes));
    assert_eq!(
        reader(b"\x7f\xff\xff\xffab").get_nullable_bytes(false),
        Err(DecodeError::Truncated { needed: 0x7fff_ffff, left: 2 })
    );
    assert_eq!(reader(b"\xff\xff\xff\xfe").get_nullable_bytes(false), Err(DecodeError::NegativeLength(-2)));
    assert_eq!(reader(b"\xff\xff\xff\xff").get_nullable_bytes(false), Ok(None));
    assert_eq!(
        reader(b"\x00\x00\x00\x03ab").get_array_count(false),
        Err(DecodeError::ArrayTooLong { count: 3, left: 2 })
    );
    assert_eq!(reader(b"\x00\x01\xff").get_nullable_string(false), Err(DecodeError::NotUtf8));
    assert_eq!(reader(b"\x81\x80\x02").get_nullable_string(true), Err(DecodeError::StringTooLong(32768)));
    assert_eq!(reader(b"\x00").get_nullable_string(true), Ok(None));
}

#[test]
fn bytes_are_slices_of_the_frame() {
    let frame = Bytes::from(b"\x00\x00\x00\x02ab".to_vec());
    let value = Reader::new(frame.clone()).get_nullable_bytes(false).unwrap().unwrap();
    assert_eq!(value.as_ptr(), frame[4..].as_ptr());
}

fn fetched(records: Records) -> FetchResponse {
    let partition = |records| PartitionData { records: Some(records), ..PartitionData::default() };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            topic: "t".to_owned(),
            partitions: vec![partition(records), partition(Records::Bytes(Bytes::from_static(b"small")))],
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[test]
fn file_content_stays_in_the_file() {
    let content: Vec<u8> = (0..5000).map(|at| at as u8).collect();
    let file = Arc::new(MemoryFile(content.clone()));
    let slice = FileSlice { file, position: 100, len: 4000 };
    let large = Bytes::from(content);
    let cases: [(Records, usize); 3] = [
        (Records::Slice(slice.clone()), 3),
        (Records::Bytes(large.clone()), 3),
        (Records::Parts(vec![Part::File(slice.clone()), Part::Bytes(large), Part::File(slice)]), 5),
    ];
    for (records, parts) in cases {
        for version in [4, 11, 12] {
            let frame = encode_response(1, version, &fetched(records.clone())).unwrap();
            assert_eq!(frame.parts.len(), parts);
            let len = frame.len();
            let bytes = frame.into_bytes().unwrap();
            assert_eq!(bytes.len(), len);
            assert_eq!(bytes[..4], (len as u32 - 4).to_be_bytes());
            let (_, back) = decode_response::<FetchRequest>(bytes.slice(4..), version).unwrap();
            let read = back.responses[0].partitions[0].records.clone().unwrap();
            assert_eq!(read, Records::Bytes(records.to_bytes().unwrap()));
            assert_eq!(back.responses[0].partitions[1].records, Some(Records::Bytes(Bytes::from_static(b"small"))));
        }
    }
}

#[test]
fn a_field_that_the_version_lacks_is_dropped_or_refused() {
    let encode = |request: &FetchRequest, version| request.encode(&mut Writer::new(), version);
    let with_rack = FetchRequest { rack_id: "r1".to_owned(), ..FetchRequest::default() };
    assert!(encode(&with_rack, 10).is_ok(), "the rack is ignorable");
    let with_replica = FetchRequest { replica_id: 5, ..FetchRequest::default() };
    assert!(matches!(
        encode(&with_replica, 15),
        Err(EncodeError::FieldNotInVersion { field: "replica_id", version: 15 })
    ));
    let nameless = ProduceRequest { transactional_id: None, ..ProduceRequest::default() };
    assert!(nameless.encode(&mut Writer::new(), 3).is_ok());
    assert!(matches!(
        nameless.encode(&mut Writer::new(), 2),
        Err(EncodeError::UnsupportedVersion { key: 0, version: 2 })
    ));
}

#[test]
fn unknown_tagged_fields_are_passed_over() {
    let mut writer = Writer::new();
    FetchRequest::default().encode(&mut writer, 12).unwrap();
    let known = writer.finish().unwrap().into_bytes().unwrap();
    let with_tag = |section: &[u8]| Bytes::from([&known[..known.len() - 1], section].concat());
    let decode = |bytes| FetchRequest::decode(&mut Reader::new(bytes), 12);
    assert_eq!(decode(with_tag(b"\x01\x63\x03abc")), Ok(FetchRequest::default()));
    assert_eq!(decode(with_tag(b"\x01\x63\x04abc")), Err(DecodeError::Truncated { needed: 4, left: 3 }));
    // Tag 0 is the cluster id: a string of one byte, in a field that claims three.
    assert_eq!(decode(with_tag(b"\x01\x00\x03\x02ab")), Err(DecodeError::TagSize { tag: 0 }));
}
