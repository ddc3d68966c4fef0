/* Builds, walks and frees binary trees: recursion, calls and the heap. */
#include <stdio.h>
#include <stdlib.h>

struct node { struct node *left, *right; };

static struct node *make(int depth)
{
	struct node *node = malloc(sizeof *node);
	node->left = depth ? make(depth - 1) : 0;
	node->right = depth ? make(depth - 1) : 0;
	return node;
}
static long count(const struct node *node)
{
	return node->left ? 1 + count(node->left) + count(node->right) : 1;
}
static void drop(struct node *node)
{
	if (node->left) drop(node->left), drop(node->right);
	free(node);
}

int main(int argc, char **argv)
{
	int depth = argc > 1 ? atoi(argv[1]) : 12;
	struct node *kept = make(depth);
	for (int d = 4; d <= depth; d += 2) {
		long sum = 0;
		for (int i = 0; i < 1 << (depth - d); i++) {
			struct node *tree = make(d);
			sum += count(tree);
			drop(tree);
		}
		printf("%d %ld\n", d, sum);
	}
	printf("%ld\n", count(kept));
	drop(kept);
	return 0;
}
