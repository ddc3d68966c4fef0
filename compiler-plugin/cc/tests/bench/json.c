/* Builds, prints, parses and compares a document with the JSON library. */
#include <stdio.h>
#include <stdlib.h>
#include "cJSON.h"

int main(int argc, char **argv)
{
	int items = argc > 1 ? atoi(argv[1]) : 150;
	cJSON *list = cJSON_CreateArray();
	for (int i = 0; i < items; i++) {
		cJSON *item = cJSON_CreateObject();
		cJSON_AddNumberToObject(item, "number", i * 1.25 - 7);
		cJSON_AddStringToObject(item, "text", "a \"quoted\" text\twith\nlines");
		cJSON_AddItemToObject(item, "flags", cJSON_CreateIntArray((int[]){i, -i, i * i}, 3));
		cJSON_AddBoolToObject(item, "even", i % 2 == 0);
		cJSON_AddItemToArray(list, item);
	}
	char *text = cJSON_Print(list);
	cJSON *again = cJSON_Parse(text);
	unsigned digest = 0;
	for (char *at = text; *at; at++) digest = digest * 31 + (unsigned char)*at;
	printf("%d %u\n", cJSON_Compare(list, again, 1), digest);
	cJSON_Minify(text);
	digest = 0;
	for (char *at = text; *at; at++) digest = digest * 31 + (unsigned char)*at;
	printf("%u\n", digest);
	free(text), cJSON_Delete(list), cJSON_Delete(again);
	return 0;
}
