#include "common/lockout.h"

uint32_t lockout_counter_limit(uint32_t maximum)
{
	if (maximum >= 4)
		return maximum / 2;
	return maximum >= 2 ? 1 : 0;
}

uint32_t lockout_charge_limit(uint32_t maximum)
{
	uint32_t limit = maximum / 4 < 3 ? maximum / 4 : 3;

	return limit > 1 ? limit : 1;
}
