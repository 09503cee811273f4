"""Studies of many students: recipes, and what runs them."""
