"""Networks that enlarge pictures, from files as users have them."""
