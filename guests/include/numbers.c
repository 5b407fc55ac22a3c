#include "numbers.h"

#define LOG2_E 1.4426950408889634f
#define LN2_HIGH 0.693145751953125f /* the sum of the two is ln 2 */
#define LN2_LOW 1.4286068203094172e-6f

typedef union {
  float number;
  uint32_t bits;
} float_bits;

float natural_exponential(float power) {
  if (power < -87.0f) return 0;
  if (power > 88.0f) power = 88.0f;
  const float scaled = power * LOG2_E;
  const int32_t whole = (int32_t)(scaled < 0 ? scaled - 0.5f : scaled + 0.5f);
  /* Taylor's series of e^rest, |rest| <= ln 2 / 2. */
  const float rest = (power - (float)whole * LN2_HIGH) - (float)whole * LN2_LOW;
  float sum = 1;
  for (int term = 7; term > 0; --term) sum = 1 + sum * rest / (float)term;
  const float_bits scale = {.bits = (uint32_t)(whole + 127) << 23};
  return sum * scale.number;
}

float natural_logarithm(float positive) {
  float_bits parts = {.number = positive};
  int32_t exponent = (int32_t)(parts.bits >> 23) - 127;
  parts.bits = (parts.bits & 0x7fffffu) | 0x3f800000u;
  if (parts.number > 1.41421356f) {
    parts.number *= 0.5f;
    ++exponent;
  }
  /* ln m = 2 artanh((m - 1) / (m + 1)), whose argument is below 0.172 here. */
  const float ratio = (parts.number - 1) / (parts.number + 1);
  const float square = ratio * ratio;
  const float series = 1 + square * (1.0f / 3 + square * (1.0f / 5 + square * (1.0f / 7 + square / 9)));
  return 2 * ratio * series + (float)exponent * (LN2_HIGH + LN2_LOW);
}

float uniform_number(void) {
  uint32_t bits = 0;
  realm_random((uint8_t*)&bits, sizeof bits);
  return (float)(bits >> 8) / 16777216.0f;
}
