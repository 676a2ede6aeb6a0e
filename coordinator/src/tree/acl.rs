//! Access control lists: schemes, expansion, permission checks, and the table that keeps each distinct list once.
//! It never changes a znode.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use common::zk::digest::digest_id;

use super::digest::fingerprint;
use super::txn::Refusal;
use common::distinguished_name;

/// May read data and list children.
pub const READ: i32 = 1;
/// May set data.
pub const WRITE: i32 = 2;
/// May create children.
pub const CREATE: i32 = 4;
/// May delete children.
pub const DELETE: i32 = 8;
/// May set the access control list.
pub const ADMIN: i32 = 16;
/// All of them.
pub const ALL: i32 = 31;

/// One entry of an access control list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct Acl {
    /// Sum of [`READ`], [`WRITE`], [`CREATE`], [`DELETE`] and [`ADMIN`].
    #[prost(int32, tag = "1")]
    pub perms: i32,
    /// world, auth, digest, ip, sasl or x509.
    #[prost(string, tag = "2")]
    pub scheme: String,
    /// Who, in the words of the scheme.
    #[prost(string, tag = "3")]
    pub id: String,
}

/// Who a client has shown to be: scheme and id, as `addauth` and the connection's address give them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct AuthId {
    /// digest, ip, sasl, x509 or super.
    #[prost(string, tag = "1")]
    pub scheme: String,
    /// For digest `user:base64(sha1(user:password))`, for ip the address.
    #[prost(string, tag = "2")]
    pub id: String,
}

/// An access control list, shared by all znodes that have the same one.
pub type AclList = Arc<[Acl]>;

/// What this server's configuration says about access control.
#[derive(Clone, Debug, Default)]
pub struct AclSettings {
    /// `DigestAuthenticationProvider.superDigest`: who proves this digest may do everything.
    pub super_digest: Option<String>,
    /// `skipACL`: permissions are not checked at all.
    pub skip: bool,
    /// Whether the sasl scheme may be used in a list (`authProvider.*` names the SASL provider).
    pub sasl: bool,
    /// Whether the x509 scheme may be used in a list.
    pub x509: bool,
}

impl Acl {
    /// An entry of these permissions, scheme and id.
    pub fn new(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: scheme.to_owned(), id: id.to_owned() }
    }

    /// Everyone may do everything: what a client gives who does not care.
    pub fn open() -> Vec<Acl> {
        vec![Acl::new(ALL, "world", "anyone")]
    }

    /// Everyone may read: the list of `/zookeeper/config`.
    pub fn read_only() -> Vec<Acl> {
        vec![Acl::new(READ, "world", "anyone")]
    }

    fn is_anyone(&self) -> bool {
        self.scheme == "world" && self.id == "anyone"
    }
}

impl AuthId {
    /// The id under which a client's address counts.
    pub fn ip(address: IpAddr) -> AuthId {
        AuthId { scheme: "ip".into(), id: address.to_canonical().to_string() }
    }

    /// The user's name, as `whoAmI` shows it: what stands before the colon of a digest.
    pub fn user(&self) -> &str {
        match self.scheme.as_str() {
            "digest" => self.id.split(':').next().unwrap_or_default(),
            _ => &self.id,
        }
    }
}

/// Ids that an auth packet proves, empty if the scheme is unknown or cannot be proved this way.
pub fn authenticate(settings: &AclSettings, remote: IpAddr, scheme: &str, proof: &[u8]) -> Vec<AuthId> {
    match scheme {
        "digest" => {
            let digest = digest_id(proof);
            let mut ids = Vec::new();
            if settings.super_digest.as_deref() == Some(digest.as_str()) {
                ids.push(AuthId { scheme: "super".into(), id: String::new() });
            }
            ids.push(AuthId { scheme: "digest".into(), id: digest });
            ids
        }
        "ip" => vec![AuthId::ip(remote)],
        _ => Vec::new(),
    }
}

/// The list to store for one a client gave: duplicates dropped, `auth` replaced by who the client is, unknown schemes
/// and malformed ids refused.
pub fn expand(settings: &AclSettings, auth: &[AuthId], acl: &[Acl]) -> Result<Vec<Acl>, Refusal> {
    let mut expanded = Vec::with_capacity(acl.len());
    for (index, entry) in acl.iter().enumerate() {
        if acl[..index].contains(entry) {
            continue;
        }
        if entry.is_anyone() {
            expanded.push(entry.clone());
        } else if entry.scheme == "auth" {
            let before = expanded.len();
            for id in auth.iter().filter(|id| proves_identity(settings, &id.scheme)) {
                expanded.push(Acl { perms: entry.perms, scheme: id.scheme.clone(), id: id.id.clone() });
            }
            if expanded.len() == before {
                return Err(Refusal::InvalidAcl);
            }
        } else if is_valid(settings, &entry.scheme, &entry.id) {
            expanded.push(entry.clone());
        } else {
            return Err(Refusal::InvalidAcl);
        }
    }
    if expanded.is_empty() { Err(Refusal::InvalidAcl) } else { Ok(expanded) }
}

/// Whether one of `auth` has one of the permissions in `perms` on a znode with this list. An empty list lets all pass.
pub fn permits(settings: &AclSettings, acl: &[Acl], perms: i32, auth: &[AuthId]) -> bool {
    if settings.skip || acl.is_empty() || auth.iter().any(|id| id.scheme == "super") {
        return true;
    }
    acl.iter().filter(|entry| entry.perms & perms != 0).any(|entry| {
        entry.is_anyone() || auth.iter().any(|id| id.scheme == entry.scheme && matches(settings, id, &entry.id))
    })
}

/// Whether ids of the scheme say who a client is (an address does not), so that `auth` stands for them.
fn proves_identity(settings: &AclSettings, scheme: &str) -> bool {
    match scheme {
        "digest" => true,
        "sasl" => settings.sasl,
        "x509" => settings.x509,
        _ => false,
    }
}

fn is_valid(settings: &AclSettings, scheme: &str, id: &str) -> bool {
    match scheme {
        "digest" => {
            // One colon; what Java's split drops at the end does not count.
            let parts: Vec<&str> = id.trim_end_matches(':').split(':').collect();
            parts.len() == 2
        }
        "ip" => parse_network(id).is_some(),
        "sasl" => settings.sasl && is_kerberos_name(id),
        "x509" => settings.x509 && distinguished_name::is_valid(id),
        _ => false,
    }
}

/// `primary`, `primary@realm` or `primary/instance@realm`.
fn is_kerberos_name(id: &str) -> bool {
    match id.split_once('@') {
        None => true,
        Some((name, realm)) => !realm.contains(['@', '/']) && name.matches('/').count() <= 1,
    }
}

fn matches(settings: &AclSettings, id: &AuthId, expression: &str) -> bool {
    match id.scheme.as_str() {
        "digest" => id.id == expression,
        "sasl" => settings.sasl && (id.id == "super" || id.id == expression),
        "x509" => settings.x509 && id.id == expression,
        "ip" => match (parse_network(expression), parse_address(&id.id)) {
            (Some((network, bits)), Some(address)) => {
                network.len() == address.len() && masked(&network, bits) == masked(&address, bits)
            }
            _ => false,
        },
        _ => false,
    }
}

/// `address` or `address/bits` as bytes and the number of leading bits that count.
fn parse_network(text: &str) -> Option<(Vec<u8>, usize)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address = parse_address(address)?;
    let most = address.len() * 8;
    let bits = match bits {
        Some(bits) => bits.parse::<usize>().ok().filter(|bits| *bits <= most)?,
        None => most,
    };
    Some((address, bits))
}

/// An IPv4 or IPv6 address as bytes. IPv4 parts may have leading zeros, as ZooKeeper allows.
fn parse_address(text: &str) -> Option<Vec<u8>> {
    if text.contains(':') {
        return text.parse::<std::net::Ipv6Addr>().ok().map(|address| address.octets().to_vec());
    }
    let parts = text.split('.').map(|part| part.parse::<u8>()).collect::<Result<Vec<u8>, _>>().ok()?;
    (parts.len() == 4).then_some(parts)
}

fn masked(address: &[u8], bits: usize) -> Vec<u8> {
    let keep = |index: usize| match bits.saturating_sub(index * 8) {
        0 => 0u8,
        left if left >= 8 => 0xff,
        left => 0xffu8 << (8 - left),
    };
    address.iter().enumerate().map(|(index, byte)| byte & keep(index)).collect()
}

/// Number of a list in an [`AclTable`]; means nothing outside this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AclNumber(u32);

/// Every distinct list once, counted: a million znodes with the same list cost four bytes each.
#[derive(Debug, Default)]
pub(crate) struct AclTable {
    entries: Vec<AclEntry>,
    numbers: BTreeMap<AclList, u32>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct AclEntry {
    list: AclList,
    fingerprint: u64,
    uses: u64,
}

impl AclTable {
    /// Counts one more use of the list and gives its number.
    pub(crate) fn take(&mut self, acl: &[Acl]) -> AclNumber {
        if let Some(number) = self.numbers.get(acl) {
            self.entries[*number as usize].uses += 1;
            return AclNumber(*number);
        }
        let list: AclList = acl.into();
        let entry = AclEntry { list: list.clone(), fingerprint: fingerprint_of(acl), uses: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                let number = u32::try_from(self.entries.len()).expect("fewer lists than znodes fit in memory");
                self.entries.push(entry);
                number
            }
        };
        self.numbers.insert(list, number);
        AclNumber(number)
    }

    /// Counts one use less; the list goes with the last.
    pub(crate) fn release(&mut self, number: AclNumber) {
        let entry = &mut self.entries[number.0 as usize];
        entry.uses -= 1;
        if entry.uses == 0 {
            self.numbers.remove(&entry.list);
            entry.list = Arc::from([]);
            self.free.push(number.0);
        }
    }

    /// The list of a number in use.
    pub(crate) fn get(&self, number: AclNumber) -> &AclList {
        &self.entries[number.0 as usize].list
    }

    /// A number computed from the list's content alone.
    pub(crate) fn fingerprint(&self, number: AclNumber) -> u64 {
        self.entries[number.0 as usize].fingerprint
    }

    /// How many distinct lists are in use.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}

fn fingerprint_of(acl: &[Acl]) -> u64 {
    let mut value = 0;
    for entry in acl {
        value = fingerprint(value, &entry.perms.to_le_bytes());
        value = fingerprint(value, entry.scheme.as_bytes());
        value = fingerprint(value, entry.id.as_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(scheme: &str, id: &str) -> AuthId {
        AuthId { scheme: scheme.into(), id: id.into() }
    }

    #[test]
    fn who_a_client_proves_to_be() {
        let settings =
            AclSettings { super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into()), ..Default::default() };
        let check = |scheme: &str, proof: &str, want: &[AuthId]| {
            let got = authenticate(&settings, IpAddr::from([10, 0, 0, 1]), scheme, proof.as_bytes());
            assert_eq!(got, want, "{scheme} {proof}");
        };
        let root = id("digest", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
        check("digest", "super:test", &[id("super", ""), root]);
        check("ip", "", &[id("ip", "10.0.0.1")]);
        check("nosuch", "x", &[]);
    }

    #[test]
    fn expansion() {
        let settings = AclSettings::default();
        let bob = id("digest", "bob:x");
        let address = id("ip", "10.0.0.1");
        let check = |acl: &[Acl], want: Result<&[Acl], Refusal>| {
            let got = expand(&settings, &[address.clone(), bob.clone()], acl);
            assert_eq!(got.as_deref().map_err(|refusal| *refusal), want, "{acl:?}");
        };
        check(&[], Err(Refusal::InvalidAcl));
        check(&Acl::open(), Ok(&Acl::open()));
        check(&[Acl::open(), Acl::open()].concat(), Ok(&Acl::open()));
        check(&[Acl::new(1, "auth", "")], Ok(&[Acl::new(1, "digest", "bob:x")]));
        check(&[Acl::new(1, "world", "nobody")], Err(Refusal::InvalidAcl));
        check(&[Acl::new(1, "digest", "bob")], Err(Refusal::InvalidAcl));
        check(&[Acl::new(1, "digest", "bob:")], Err(Refusal::InvalidAcl));
        check(&[Acl::new(1, "digest", "a:b:c")], Err(Refusal::InvalidAcl));
        check(&[Acl::new(1, "sasl", "kafka")], Err(Refusal::InvalidAcl));
        check(&[Acl::new(1, "nosuch", "x")], Err(Refusal::InvalidAcl));
        check(&[Acl::new(1, "ip", "10.0.0.0/33")], Err(Refusal::InvalidAcl));
        check(&[Acl::new(1, "ip", "10.0.0.0/8")], Ok(&[Acl::new(1, "ip", "10.0.0.0/8")]));
        assert_eq!(
            expand(&settings, std::slice::from_ref(&address), &[Acl::new(1, "auth", "")]),
            Err(Refusal::InvalidAcl)
        );
    }

    #[test]
    fn permissions() {
        let settings = AclSettings::default();
        let check = |acl: Acl, perms: i32, auth: AuthId, want: bool| {
            assert_eq!(
                permits(&settings, std::slice::from_ref(&acl), perms, std::slice::from_ref(&auth)),
                want,
                "{acl:?} {perms} {auth:?}"
            );
        };
        check(Acl::new(READ, "world", "anyone"), READ, id("ip", "1.2.3.4"), true);
        check(Acl::new(READ, "world", "anyone"), WRITE, id("ip", "1.2.3.4"), false);
        check(Acl::new(READ, "world", "anyone"), READ | ADMIN, id("ip", "1.2.3.4"), true);
        check(Acl::new(READ, "world", "anyone"), WRITE, id("super", ""), true);
        check(Acl::new(ALL, "digest", "bob:x"), WRITE, id("digest", "bob:x"), true);
        check(Acl::new(ALL, "digest", "bob:x"), WRITE, id("digest", "bob:y"), false);
        check(Acl::new(ALL, "ip", "1.2.0.0/16"), WRITE, id("ip", "1.2.3.4"), true);
        check(Acl::new(ALL, "ip", "1.2.3.5/31"), WRITE, id("ip", "1.2.3.4"), true);
        check(Acl::new(ALL, "ip", "1.2.3.6/31"), WRITE, id("ip", "1.2.3.4"), false);
        check(Acl::new(ALL, "ip", "1.2.3.4"), WRITE, id("ip", "::1"), false);
        check(Acl::new(ALL, "ip", "fe80::/10"), WRITE, id("ip", "fe80::1"), true);
        check(Acl::new(ALL, "ip", "0.0.0.0/0"), WRITE, id("ip", "9.9.9.9"), true);
    }

    #[test]
    fn table_keeps_each_list_once_and_forgets_unused_ones() {
        let mut table = AclTable::default();
        let first = table.take(&Acl::open());
        let second = table.take(&Acl::open());
        assert_eq!((first, table.len()), (second, 1));
        let other = table.take(&Acl::read_only());
        assert_eq!((table.len(), table.get(other).to_vec()), (2, Acl::read_only()));
        table.release(first);
        table.release(second);
        assert_eq!(table.len(), 1);
        assert_eq!(table.take(&[Acl::new(1, "ip", "1.1.1.1")]), first);
    }
}
