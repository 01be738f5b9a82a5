#include "common/policy.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

bool policy_allows_command(const struct policy *policy, uint32_t code)
{
	uint32_t bit = code - POLICY_FIRST_CODE; /* wraps to something large below the first */

	return bit < POLICY_CODES && (policy->commands[bit / 64] >> (bit % 64) & 1);
}

int policy_allow_command(struct policy *policy, uint32_t code)
{
	uint32_t bit = code - POLICY_FIRST_CODE;

	if (bit >= POLICY_CODES)
		return -ERANGE;
	policy->commands[bit / 64] |= UINT64_C(1) << (bit % 64);
	return 0;
}

bool policy_allows_handle(const struct policy *policy, uint32_t handle, uint32_t use)
{
	if (use == 0)
		return false;
	for (uint32_t i = 0; i < policy->range_count && i < POLICY_RANGES; i++) {
		const struct policy_range *range = &policy->ranges[i];

		if (handle >= range->first && handle <= range->last && (range->use & use) == use)
			return true;
	}
	return false;
}

struct policy_image policy_image_new(void)
{
	return (struct policy_image){
		.magic = POLICY_MAGIC,
		.version = POLICY_VERSION,
		.size = sizeof(struct policy_image),
		.object_slots = POLICY_SLOTS,
		.session_slots = POLICY_SLOTS,
	};
}

static bool policy_is_valid(const struct policy *policy)
{
	if (policy->name[0] == '\0' || memchr(policy->name, '\0', sizeof policy->name) == NULL)
		return false;
	if ((policy->hierarchies | policy->secrets) & ~(uint32_t)POLICY_HIERARCHY_ALL)
		return false;
	if (policy->flags & ~(uint32_t)POLICY_FLAG_ALL || policy->range_count > POLICY_RANGES)
		return false;
	for (uint32_t i = 0; i < policy->range_count; i++) {
		const struct policy_range *range = &policy->ranges[i];

		if (range->first > range->last || range->first >> 24 != range->last >> 24)
			return false;
		if (range->use == 0 || range->use & ~(uint32_t)POLICY_USE_ALL)
			return false;
	}
	return true;
}

int policy_image_check(const struct policy_image *image)
{
	if (image->magic != POLICY_MAGIC || image->version != POLICY_VERSION ||
		image->size != sizeof *image)
		return -EBADMSG;
	if (image->backend == POLICY_BACKEND_INVALID || image->backend > POLICY_BACKEND_MANAGER)
		return -EBADMSG;
	if (image->reserved != 0)
		return -EBADMSG;
	if (image->object_slots > POLICY_SLOTS_MAX || image->session_slots > POLICY_SLOTS_MAX)
		return -EBADMSG;
	if (image->policy_count == 0 || image->policy_count > POLICY_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < image->policy_count; i++) {
		if (!policy_is_valid(&image->policies[i]))
			return -EBADMSG;
		/* the same profile twice would be spent twice (POLICY_ONCE) */
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(image->policies[i].name, image->policies[j].name) == 0)
				return -EBADMSG;
	}
	return 0;
}

#define POLICY_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int policy_image_to_memfd(const struct policy_image *image)
{
	CLEANUP_FD int fd = memfd_create("tpmgate-policy", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;

	ssize_t written = pwrite(fd, image, sizeof *image, 0);

	if (written != (ssize_t)sizeof *image)
		return written < 0 ? -errno : -EIO;
	if (fcntl(fd, F_ADD_SEALS, POLICY_SEALS) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int policy_image_from_memfd(int fd, struct policy_image *ret_image)
{
	struct policy_image image;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return -errno;
	if ((seals & POLICY_SEALS) != POLICY_SEALS)
		return -EBADMSG;

	ssize_t got = pread(fd, &image, sizeof image, 0);

	if (got < 0)
		return -errno;
	if (got != (ssize_t)sizeof image || policy_image_check(&image) < 0)
		return -EBADMSG;
	*ret_image = image;
	return 0;
}
