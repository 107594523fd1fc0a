// Names and addresses: a person types "luis", the hub wants "u/luis/".

export const SUGGESTED = ["ana", "luis", "marta", "ken"];
export const EVERYONE = "all/";

const EVERYONE_WORDS = new Set(["everyone", "all", "todos", "todo el mundo", EVERYONE]);
const NAME_MAX = 64;

/** The user id for what was typed, or null if no id can be made of it. */
export function userId(typed) {
  const name = String(typed ?? "").trim().normalize("NFC");
  if (name === "" || [...name].length > NAME_MAX || /\p{Cc}|\p{Cs}/u.test(name)) return null;
  // Ids are case-sensitive; "Ana" would wait for ever for what is sent to the suggested "ana".
  const lower = name.toLowerCase();
  return SUGGESTED.includes(lower) ? lower : name;
}

export function userAddress(id) {
  // encodeURIComponent leaves five characters that the hub's addresses do not allow literally.
  const encoded = encodeURIComponent(id).replace(/[!'()*]/g,
    (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());
  return `u/${encoded}/`;
}

/** The address for the "To" field: a name, "everyone" in either language, or an address as it is. */
export function recipientAddress(typed) {
  const value = String(typed ?? "").trim();
  if (EVERYONE_WORDS.has(value.toLowerCase())) return EVERYONE;
  if (/^u\/[^/]+\/$/.test(value)) return value;
  const id = userId(value);
  return id === null ? null : userAddress(id);
}

/** The user id inside `u/<id>/`, or null for any other address. */
export function addressedUser(address) {
  const match = /^u\/([^/]+)\/$/.exec(address);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}
