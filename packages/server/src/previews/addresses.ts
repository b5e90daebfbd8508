import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

/** What is nobody's on the internet, by the registries of special addresses of IANA, and what leads back into it. */
const never: [range: string, bits: number, what: string][] = [
  ['0.0.0.0', 8, 'this network'],
  ['10.0.0.0', 8, 'private'],
  ['100.64.0.0', 10, 'shared by carriers'],
  ['127.0.0.0', 8, 'this machine'],
  ['169.254.0.0', 16, 'this link, and the metadata of clouds'],
  ['172.16.0.0', 12, 'private'],
  ['192.0.0.0', 24, 'assignments of protocols'],
  ['192.0.2.0', 24, 'documentation'],
  ['192.88.99.0', 24, 'relays of 6to4'],
  ['192.168.0.0', 16, 'private'],
  ['198.18.0.0', 15, 'measurements'],
  ['198.51.100.0', 24, 'documentation'],
  ['203.0.113.0', 24, 'documentation'],
  ['224.0.0.0', 4, 'groups'],
  ['240.0.0.0', 4, 'reserved, and everybody'],
  // Only 2000::/3 is given out to anybody. What is named below is the rest, in three parts; so also ::1 and ::, IPv4 inside
  // of ::/96, ::ffff:0:0/96 and 64:ff9b::/96 (NAT64), fc00::/7, fe80::/10 and ff00::/8.
  ['::', 3, 'not given out, or IPv4 in other clothes'],
  ['4000::', 2, 'not given out'],
  ['8000::', 1, 'not given out, private, of this link, or groups'],
  ['2001::', 23, 'assignments of protocols, and IPv4 in Teredo'],
  ['2001:db8::', 32, 'documentation'],
  ['2002::', 16, 'IPv4 in 6to4'],
  ['3fff::', 20, 'documentation'],
];

// Two lists: in one, every IPv4 address would be looked for among those of IPv6 as well, where it is inside of ::/3.
const [never4, never6] = [new BlockList(), new BlockList()];
for (const [range, bits] of never) {
  if (isIPv4(range)) never4.addSubnet(range, bits, 'ipv4');
  else never6.addSubnet(range, bits, 'ipv6');
}

/** May a stranger's link lead there? Only where everybody can go, and not to this machine by any of its own addresses. */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !never4.check(address, 'ipv4') && !isOwn(address);
  // With a zone it is one of this link.
  if (isIPv6(address) && !address.includes('%')) return !never6.check(address, 'ipv6') && !isOwn(address);
  return false;
}

/** Asked each time: addresses come and go while a server runs. */
function isOwn(address: string): boolean {
  const own = new BlockList();
  for (const { address: one, family } of Object.values(networkInterfaces()).flatMap((all) => all ?? [])) own.addAddress(one.split('%')[0]!, family === 'IPv6' ? 'ipv6' : 'ipv4');
  return own.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/** However each of the two is written. */
export function isSameAddress(one: string, other: string): boolean {
  const list = new BlockList();
  list.addAddress(one, isIPv4(one) ? 'ipv4' : 'ipv6');
  return list.check(other, isIPv4(other) ? 'ipv4' : 'ipv6');
}
