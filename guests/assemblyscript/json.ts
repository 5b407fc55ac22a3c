// Reading a request's JSON: a value is a range of the text. The host sends well-formed JSON; nothing outside the text
// is ever read all the same.

function skipSpace(text: string, at: i32): i32 {
  while (at < text.length && text.charCodeAt(at) <= 0x20) ++at;
  return at;
}

function skipString(text: string, at: i32): i32 {
  for (++at; at < text.length; ++at) {
    const code = text.charCodeAt(at);
    if (code == 0x5c) ++at; // a backslash and what it stands before
    else if (code == 0x22) return at + 1;
  }
  return text.length;
}

function skipValue(text: string, at: i32): i32 {
  let depth = 0;
  for (; at < text.length; ++at) {
    const code = text.charCodeAt(at);
    if (code == 0x22) {
      at = skipString(text, at) - 1;
      if (depth == 0) return at + 1;
    } else if (code == 0x7b || code == 0x5b) {
      ++depth;
    } else if (code == 0x7d || code == 0x5d) {
      if (depth == 0) return at;
      if (--depth == 0) return at + 1;
    } else if (code == 0x2c && depth == 0) {
      return at;
    }
  }
  return text.length;
}

/** The text of an object's member, as it stands there; null when it has none of that name. */
export function member(object: string, name: string): string | null {
  let at = skipSpace(object, 0);
  if (at >= object.length || object.charCodeAt(at) != 0x7b) return null;
  at = skipSpace(object, at + 1);
  while (at < object.length && object.charCodeAt(at) == 0x22) {
    const nameEnd = skipString(object, at);
    const found = object.substring(at + 1, nameEnd - 1) == name;
    const start = skipSpace(object, skipSpace(object, nameEnd) + 1);
    const end = skipValue(object, start);
    if (found) return object.substring(start, end);
    at = skipSpace(object, skipSpace(object, end) + 1);
  }
  return null;
}

/** A whole number >= 0, or -1. */
export function whole(value: string | null): i32 {
  if (value === null || value.length == 0 || value.length > 9) return -1;
  let number = 0;
  for (let i = 0; i < value.length; ++i) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}

/** The items of an array of whole numbers. */
export function wholes(array: string | null): i32[] {
  const found: i32[] = [];
  if (array === null) return found;
  let at = skipSpace(array, 1);
  while (at < array.length && array.charCodeAt(at) != 0x5d) {
    const end = skipValue(array, at);
    found.push(whole(array.substring(at, end)));
    at = skipSpace(array, skipSpace(array, end) + 1);
  }
  return found;
}

/** What a string's text stands for; null when it is no string. */
export function words(value: string | null): string | null {
  if (value === null || value.length < 2 || value.charCodeAt(0) != 0x22) return null;
  let result = "";
  let start = 1;
  for (let i = 1; i < value.length - 1; ++i) {
    if (value.charCodeAt(i) != 0x5c) continue;
    result += value.substring(start, i);
    const code = value.charCodeAt(++i);
    if (code == 0x75) {
      result += String.fromCharCode(<i32>parseInt(value.substring(i + 1, i + 5), 16));
      i += 4;
    } else if (code == 0x6e) result += "\n";
    else if (code == 0x74) result += "\t";
    else if (code == 0x72) result += "\r";
    else if (code == 0x62) result += "\b";
    else if (code == 0x66) result += "\f";
    else result += String.fromCharCode(code);
    start = i + 1;
  }
  return result + value.substring(start, value.length - 1);
}
