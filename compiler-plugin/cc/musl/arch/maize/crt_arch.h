/* The runtime has the first instructions, and calls __maize_entry. */
