/* The few functions of real numbers that sampling needs, for programs without a C library. */
#ifndef REALM_NUMBERS_H
#define REALM_NUMBERS_H

#include "realm.h"

float natural_exponential(float power);  /* relative error below 1e-6; 0 below -87 */
float natural_logarithm(float positive); /* absolute error below 1e-6 for normal numbers */
float uniform_number(void);              /* in 0 to 1, of the request's own random numbers */

#endif
