#include "json.h"

#define MAX_DEPTH 64

static const char* skip_space(const char* at, const char* end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) ++at;
  return at;
}

/* Each skip_ function returns one past what it read, or 0. */
static const char* skip_string(const char* at, const char* end) {
  for (++at; at < end; ++at) {
    if (*at == '"') return at + 1;
    if ((unsigned char)*at < 0x20) return 0;
    if (*at == '\\' && ++at >= end) return 0;
  }
  return 0;
}

static const char* skip_word(const char* at, const char* end, const char* word) {
  for (; *word; ++word, ++at)
    if (at >= end || *at != *word) return 0;
  return at;
}

static const char* skip_number(const char* at, const char* end) {
  const char* start = at;
  int digits = 0;
  for (; at < end; ++at) {
    if (*at >= '0' && *at <= '9') digits = 1;
    else if (*at != '-' && *at != '+' && *at != '.' && *at != 'e' && *at != 'E') break;
  }
  return digits && at > start ? at : 0;
}

static const char* skip_scalar(const char* at, const char* end) {
  if (at >= end) return 0;
  switch (*at) {
    case '"': return skip_string(at, end);
    case 't': return skip_word(at, end, "true");
    case 'f': return skip_word(at, end, "false");
    case 'n': return skip_word(at, end, "null");
    default: return skip_number(at, end);
  }
}

/* In an object, over `"name" :` to the member's value. */
static const char* skip_name(const char* at, const char* end) {
  if (at >= end || *at != '"') return 0;
  at = skip_string(at, end);
  if (!at) return 0;
  at = skip_space(at, end);
  if (at >= end || *at != ':') return 0;
  return skip_space(at + 1, end);
}

static const char* skip_value(const char* at, const char* end) {
  char closing[MAX_DEPTH];
  int depth = 0;
  for (;;) {
    /* At the beginning of a value. */
    if (at < end && (*at == '{' || *at == '[')) {
      if (depth == MAX_DEPTH) return 0;
      closing[depth++] = *at == '{' ? '}' : ']';
      at = skip_space(at + 1, end);
      if (at < end && *at == closing[depth - 1]) {
        --depth;
        ++at;
      } else {
        if (closing[depth - 1] == '}' && !(at = skip_name(at, end))) return 0;
        continue;
      }
    } else if (!(at = skip_scalar(at, end))) {
      return 0;
    }
    /* After a value: close what ends here, then a comma leads to the next one. */
    for (;;) {
      if (depth == 0) return at;
      at = skip_space(at, end);
      if (at >= end) return 0;
      if (*at != closing[depth - 1]) break;
      --depth;
      ++at;
    }
    if (*at != ',') return 0;
    at = skip_space(at + 1, end);
    if (closing[depth - 1] == '}' && !(at = skip_name(at, end))) return 0;
  }
}

static json_value absent(void) { return (json_value){0, 0}; }

static json_value value_at(const char* at, const char* end) {
  const char* after = skip_value(at, end);
  return after ? (json_value){at, after} : absent();
}

json_value json_parse(const char* text, size_t length) {
  const char* end = text + length;
  const json_value value = value_at(skip_space(text, end), end);
  return value.end && skip_space(value.end, end) == end ? value : absent();
}

int json_is(json_value value, char first) { return value.start != value.end && *value.start == first; }

static int same_name(const char* quoted, const char* name) {
  for (++quoted; *name; ++name, ++quoted)
    if (*quoted != *name) return 0;
  return *quoted == '"';
}

json_value json_member(json_value object, const char* name) {
  if (!json_is(object, '{')) return absent();
  const char* at = skip_space(object.start + 1, object.end);
  while (at < object.end && *at == '"') {
    const int found = same_name(at, name);
    const json_value value = value_at(skip_name(at, object.end), object.end);
    if (found || !value.end) return value;
    at = skip_space(value.end, object.end);
    if (at >= object.end || *at != ',') break;
    at = skip_space(at + 1, object.end);
  }
  return absent();
}

json_value json_search(json_value value, const char* name) {
  const char* at = value.start;
  while (at < value.end) {
    if (*at != '"') {
      ++at;
      continue;
    }
    const char* after = skip_string(at, value.end);
    if (!after) break;
    const char* colon = skip_space(after, value.end);
    if (colon < value.end && *colon == ':' && same_name(at, name))
      return value_at(skip_space(colon + 1, value.end), value.end);
    at = after;
  }
  return absent();
}

json_value json_first(json_value array) {
  if (!json_is(array, '[')) return absent();
  const char* at = skip_space(array.start + 1, array.end);
  return at < array.end && *at != ']' ? value_at(at, array.end) : absent();
}

json_value json_next(json_value array, json_value element) {
  const char* at = skip_space(element.end, array.end);
  if (at >= array.end || *at != ',') return absent();
  return value_at(skip_space(at + 1, array.end), array.end);
}

int64_t json_whole(json_value value, int64_t limit) {
  int64_t number = 0;
  if (value.start == value.end) return -1;
  for (const char* at = value.start; at < value.end; ++at) {
    if (*at < '0' || *at > '9') return -1;
    if (number > (limit - (*at - '0')) / 10) return -1;
    number = number * 10 + (*at - '0');
  }
  return number;
}

static int32_t hex4(const char* at, const char* end) {
  int32_t number = 0;
  if (end - at < 4) return -1;
  for (int i = 0; i < 4; ++i) {
    const char c = at[i];
    if (c >= '0' && c <= '9') number = number * 16 + (c - '0');
    else if (c >= 'a' && c <= 'f') number = number * 16 + (c - 'a' + 10);
    else if (c >= 'A' && c <= 'F') number = number * 16 + (c - 'A' + 10);
    else return -1;
  }
  return number;
}

static char* put_code_point(char* out, uint32_t code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 0x3f));
    *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    *out++ = (char)(0x80 | (code & 0x3f));
  }
  return out;
}

int64_t json_text(json_value value, char* out) {
  if (!json_is(value, '"')) return -1;
  char* start = out;
  const char* end = value.end - 1;
  for (const char* at = value.start + 1; at < end; ++at) {
    if (*at != '\\') {
      *out++ = *at;
      continue;
    }
    switch (*++at) {
      case '"': *out++ = '"'; break;
      case '\\': *out++ = '\\'; break;
      case '/': *out++ = '/'; break;
      case 'b': *out++ = '\b'; break;
      case 'f': *out++ = '\f'; break;
      case 'n': *out++ = '\n'; break;
      case 'r': *out++ = '\r'; break;
      case 't': *out++ = '\t'; break;
      case 'u': {
        int32_t code = hex4(at + 1, end);
        if (code < 0) return -1;
        at += 4;
        if (code >= 0xd800 && code < 0xdc00) {
          if (end - at < 7 || at[1] != '\\' || at[2] != 'u') return -1;
          const int32_t low = hex4(at + 3, end);
          if (low < 0xdc00 || low > 0xdfff) return -1;
          code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
          at += 6;
        } else if (code >= 0xdc00 && code < 0xe000) {
          return -1;
        }
        out = put_code_point(out, (uint32_t)code);
        break;
      }
      default: return -1;
    }
  }
  return out - start;
}
