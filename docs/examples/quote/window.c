/*
 * A desktop program that shows a quote of this computer's TPM. It has no privileges: tpmgate asks
 * the user, and polkit's agent of the desktop shows the prompt.
 *
 *	cc -o quote *.c $(pkg-config --cflags --libs gtk4 tpmgate)
 */
#include "attestation.h"

#include <gtk/gtk.h>
#include <sys/random.h>

struct window {
	GtkWidget *button;
	GtkWidget *text;
};

static void on_asked(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	struct quote *quote = g_new0(struct quote, 1);
	char error[QUOTE_ERROR_SIZE] = "No random numbers are to be had.";
	uint8_t nonce[QUOTE_DIGEST_SIZE]; /* in earnest, of whoever wants to know */

	(void)source;
	(void)data;
	(void)cancellable;
	if (getrandom(nonce, sizeof nonce, 0) == sizeof nonce &&
		attestation_quote(nonce, quote, error) == 0) {
		g_task_return_pointer(task, quote, g_free);
		return;
	}
	g_free(quote);
	g_task_return_new_error(task, G_IO_ERROR, G_IO_ERROR_FAILED, "%s", error);
}

static void append_hex(GString *text, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		g_string_append_printf(text, "%02x%s", bytes[i], i % 16 == 15 ? "\n" : " ");
	g_string_append_c(text, '\n');
}

static void on_answered(GObject *source, GAsyncResult *result, gpointer data)
{
	struct window *window = data;
	GError *error = NULL;
	struct quote *quote = g_task_propagate_pointer(G_TASK(result), &error);
	GString *text = g_string_new(NULL);

	(void)source;
	if (quote) {
		g_string_append(text, "What this computer was started with (PCRs 0 to 7):\n");
		append_hex(text, quote->digest, sizeof quote->digest);
		g_string_append_printf(text, "Started %u times, powered for %u minutes\n\n",
			quote->resets, (unsigned)(quote->clock / 60000));
		g_string_append(text, "Signed by its TPM:\n");
		append_hex(text, quote->signature, quote->signature_size);
	} else {
		g_string_append(text, error->message);
		g_error_free(error);
	}
	gtk_label_set_text(GTK_LABEL(window->text), text->str);
	gtk_widget_set_sensitive(window->button, TRUE);
	g_string_free(text, TRUE);
	g_free(quote);
}

static void on_clicked(GtkButton *button, gpointer data)
{
	GTask *task = g_task_new(NULL, NULL, on_answered, data);

	gtk_widget_set_sensitive(GTK_WIDGET(button), FALSE);
	g_task_run_in_thread(task, on_asked);
	g_object_unref(task);
}

static void on_activated(GtkApplication *application, gpointer data)
{
	struct window *window = data;
	GtkWidget *frame = gtk_application_window_new(application);
	GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 12);

	window->button = gtk_button_new_with_label("Show a quote of this computer's TPM");
	window->text = gtk_label_new("");
	gtk_label_set_selectable(GTK_LABEL(window->text), TRUE);
	gtk_label_set_wrap(GTK_LABEL(window->text), TRUE);
	gtk_widget_add_css_class(window->text, "monospace");
	gtk_widget_set_margin_start(box, 12);
	gtk_widget_set_margin_end(box, 12);
	gtk_widget_set_margin_top(box, 12);
	gtk_widget_set_margin_bottom(box, 12);
	gtk_box_append(GTK_BOX(box), window->button);
	gtk_box_append(GTK_BOX(box), window->text);
	gtk_window_set_title(GTK_WINDOW(frame), "Quote");
	gtk_window_set_default_size(GTK_WINDOW(frame), 560, 320);
	gtk_window_set_child(GTK_WINDOW(frame), box);
	g_signal_connect(window->button, "clicked", G_CALLBACK(on_clicked), window);
	gtk_window_present(GTK_WINDOW(frame));
}

int main(int count, char **arguments)
{
	struct window window = {0};
	GtkApplication *application =
		gtk_application_new("io.github.tpmgate.Quote", G_APPLICATION_NON_UNIQUE);
	int status;

	g_signal_connect(application, "activate", G_CALLBACK(on_activated), &window);
	status = g_application_run(G_APPLICATION(application), count, arguments);
	g_object_unref(application);
	return status;
}
