#include "broker-scene.h"

#include <glib.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

static char *scene_directory;

void scene_begin(void)
{
	scene_directory = g_dir_make_tmp("tpmgate-test-XXXXXX", NULL);
	assert_non_null(scene_directory);
}

static int scene_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

void scene_end(void)
{
	nftw(scene_directory, scene_remove, 8, FTW_DEPTH | FTW_PHYS);
	g_clear_pointer(&scene_directory, g_free);
}

char *scene_path(const char *name)
{
	return g_build_filename(scene_directory, name, NULL);
}

char *scene_write(const char *name, const char *text, mode_t mode)
{
	char *path = scene_path(name);
	g_autofree char *directory = g_path_get_dirname(path);

	assert_int_equal(g_mkdir_with_parents(directory, 0755), 0);
	assert_true(g_file_set_contents(path, text, -1, NULL));
	assert_int_equal(chmod(path, mode), 0);
	return path;
}
